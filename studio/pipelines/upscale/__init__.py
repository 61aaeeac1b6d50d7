"""Upscalers and face restoration."""
