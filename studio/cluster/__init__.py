"""Several machines: models that other studios draw with, and drawing for other studios."""
