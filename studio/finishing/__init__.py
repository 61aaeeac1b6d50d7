"""What is done to a finished picture with no model: crop, resize, text, watermark, and reading what others wrote into theirs."""
