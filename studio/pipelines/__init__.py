"""Local models: what lies in models/, which pipelines are resident, one file per diffusers family."""
