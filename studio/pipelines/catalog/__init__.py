"""Model files: recognise, hash and download them."""
