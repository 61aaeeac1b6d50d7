"""Runs things: jobs, queue, journal, outputs. No gradio, no torch, no plug-in."""
