"""Prompts: syntax, styles, tokens."""
