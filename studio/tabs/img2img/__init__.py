"""The Img2Img tab."""

from studio.tabs.img2img.tab import TAB

__all__ = ["TAB"]
