"""Where images come from, and what they show."""
