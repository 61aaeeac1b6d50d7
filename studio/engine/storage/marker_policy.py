"""How much metadata a file holds by what its user wants, and by what the studio wants of images that models made."""

from __future__ import annotations

import dataclasses

from studio.core.finish import MetadataPolicy, OutputOptions
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.core.source_type import MADE_BY_MODELS

NO_MARKER_NOTICE = "The file does not say that a model made the image."
MARKER_KEPT_NOTICE = "The AI marker was kept: this studio writes it always."


def apply_marker_policy(asset: Asset, rendered: RenderedImage, settings: Settings) -> RenderedImage:
    """`rendered` with the options of its file; where these leave out the marker of an image that a model made, with the
    marker if the settings want it always, and with a note in either case."""
    options = rendered.file or asset.request.file or OutputOptions()
    if options.keep is not MetadataPolicy.NOTHING or asset.source_type not in MADE_BY_MODELS:
        return dataclasses.replace(rendered, file=options)
    if settings.marking != "always":
        return dataclasses.replace(rendered, file=options, notes=(*rendered.notes, NO_MARKER_NOTICE))
    marked = dataclasses.replace(options, keep=MetadataPolicy.MARKER)
    return dataclasses.replace(rendered, file=marked, notes=(*rendered.notes, MARKER_KEPT_NOTICE))
