"""The APIs of other programs, each a thin mapping onto the studio's own requests."""
