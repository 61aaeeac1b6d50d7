"""What is done to a finished image with no model: crop, resize, text, watermark, and reading what others wrote into
theirs."""
