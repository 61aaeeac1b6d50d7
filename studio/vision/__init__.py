"""Small networks that look at an image: faces, foreground, saliency. They ship with packages and run on a CPU."""
