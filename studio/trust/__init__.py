"""Trust in images: what words and pixels must not show, and where an image comes from."""
