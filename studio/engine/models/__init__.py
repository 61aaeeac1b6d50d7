"""The list of models, the choice among them, fallbacks, timings and votes."""
