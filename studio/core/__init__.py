"""Values and promises: what the rest of the studio is said in. Standard library and Pillow only."""
