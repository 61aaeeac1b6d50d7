"""What several preprocessors share, and the backend that runs them."""
