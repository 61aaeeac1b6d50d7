"""The checks of tools/conformance.py, one module for each API that other programs speak."""
