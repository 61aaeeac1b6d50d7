"""Small networks that look at a picture: faces, foreground, saliency. They ship with packages and run on a CPU."""
