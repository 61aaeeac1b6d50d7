"""ComfyUI's protocol, for its usual graphs."""
