"""Code that preprocessors share, and the backend that runs them."""
