"""The recipe inside an image: ours, AUTOMATIC1111's, ComfyUI's and that of other programs."""
