"""How the small text-to-image model in models/embedded is made: data, training, evaluation and export."""
