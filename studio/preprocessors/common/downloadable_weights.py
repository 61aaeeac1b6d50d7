"""The weights that annotators need, as they are offered. Sizes are what the hub shows, to three figures.

No hash is written here: the hub gives one for each of these files, and the download is checked against it.
An entry whose source names no file is a whole repo, and its weights are a folder as transformers reads it.
"""

from __future__ import annotations

from studio.core.weights import DownloadableWeights

FOLDER = "preprocessors"


def make_annotator_weights(filename: str, title: str, size: int, licence: str) -> DownloadableWeights:
    """A file of the repo in which ControlNet's own annotators are kept, a pickle read with `weights_only`."""
    return DownloadableWeights(
        id=f"preprocessors/{filename}",
        title=title,
        folder=FOLDER,
        filename=filename,
        source=f"lllyasviel/Annotators:{filename}",
        bytes=size,
        sha256="",
        licence=licence,
    )


def make_repo_weights(source: str, title: str, size: int, licence: str = "Apache-2.0") -> DownloadableWeights:
    """A repo in transformers' format, written to a folder of its name."""
    name = source.rpartition("/")[2]
    return DownloadableWeights(
        id=f"preprocessors/{name}",
        title=title,
        folder=FOLDER,
        filename=name,
        source=source,
        bytes=size,
        sha256="",
        licence=licence,
    )


DEPTH_WEIGHTS = make_repo_weights("depth-anything/Depth-Anything-V2-Small-hf", "Depth Anything V2 Small", 99_200_000)
PIDI_WEIGHTS = make_annotator_weights("table5_pidinet.pth", "PiDiNet", 2_870_000, "for research, non-commercial")
