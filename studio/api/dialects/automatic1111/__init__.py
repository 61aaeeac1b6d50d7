"""AUTOMATIC1111's REST API (version 1.10.1) and that of its ControlNet extension."""
