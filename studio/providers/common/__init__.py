"""What several providers share: HTTP, errors, request shapes, the backend."""
