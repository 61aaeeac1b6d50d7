"""One diffusers family a file, each with a constant PIPELINE. Files that begin with an underscore are shared
helpers."""
