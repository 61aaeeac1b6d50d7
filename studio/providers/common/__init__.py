"""Code that providers share: HTTP, errors, request shapes, the backend."""
