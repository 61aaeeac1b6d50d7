"""The asset library: the database, the index of images, search, and what users do with their images."""
