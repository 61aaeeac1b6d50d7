"""The image's colours and style without its shapes: pixels moved along a smooth random field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.annotate import OptionSpec, PreprocessorContext, PreprocessorSpec
from studio.preprocessors.common import pixel_arrays


def _shuffle_image(image: Image.Image, options: Mapping[str, float], context: PreprocessorContext) -> Image.Image:
    import cv2
    import numpy as np

    random = np.random.default_rng(int(options["seed"]))
    # The maps that the ControlNet learnt from have grains of 256 px in a short side of 512.
    grain = max(2, min(image.size) // 2)
    across = _make_random_field(random, image.size, grain) * (image.width - 1)
    down = _make_random_field(random, image.size, grain) * (image.height - 1)
    return pixel_arrays.to_image(cv2.remap(pixel_arrays.to_array(image), across, down, cv2.INTER_LINEAR))


def _make_random_field(random: Any, size: tuple[int, int], grain: int) -> Any:
    """A smooth field of 0–1 of `size` (width, height), whose hills are about `grain` px apart."""
    import cv2
    import numpy as np

    width, height = size
    coarse = random.random((height // grain + 2, width // grain + 2), dtype=np.float32)
    fine = cv2.resize(coarse, (width + 2 * grain, height + 2 * grain), interpolation=cv2.INTER_CUBIC)
    return pixel_arrays.stretch_values(fine[grain : grain + height, grain : grain + width]).astype(np.float32)


PREPROCESSOR = PreprocessorSpec(
    id="shuffle",
    title="Shuffle",
    kinds=("shuffle",),
    run=_shuffle_image,
    options=(
        OptionSpec(
            name="seed",
            label="Seed",
            low=0,
            high=2**32 - 1,
            default=0,
            step=1,
            help="Each number gives another pattern.",
        ),
    ),
)
