"""What users write: prompt syntax, styles, tokens."""
