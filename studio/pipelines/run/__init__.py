"""One run of a diffusers pipeline: prompts, samplers, masks, LoRAs, previews."""
