"""Work on finished images without a model: crop, resize, text, watermark, and reading what others wrote into
theirs."""
