"""Networks that run faster than torch runs them, at the same image."""
