"""Things cut out of the plain ground that they were generated on, and put onto another with a shadow below them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

_RIM = 0.03  # of the side: what of an image is taken for its ground
_GROUND, _NEAR = 6.0, 24.0  # of 255: how far a pixel of the ground is from its colour, and one that is partly ground
_EDGE = 0.014  # of the side: how far colours of the ground reach into those of the thing
_SPECK = 0.004  # of an image: what is smaller is a stain of its ground
_STAIN, _STAIN_AREA = 44.0, 0.02  # of 255: how far one reaches from the ground's colour; of an image: the largest
_EVEN, _SHARP = 6.0, 40.0  # of 255: how far the ground in an opening is from its colour, and what is around that
_THIN = 0.05  # of a thing: what has less of it has no colour of its own
_SHADOW, _SHADOW_HIGH = 0.34, 0.055  # how dark; half the height, as a share of the thing's width
_SAME_HUE = 0.08  # by which a shadow darkens the colours of a pixel differently, by rounding
_DEPTH = 0.1  # of its height: how far what floats lies in the water


@dataclass(frozen=True)
class Cutout:
    """A thing without its ground: `colours` (side, side, 3) from 0 to 255, `shares` (side, side, 1) from 0 to 1, and
    where it begins and ends, in px: left, top, right, bottom."""

    colours: np.ndarray
    shares: np.ndarray
    box: tuple[int, int, int, int]


def find_ground(pixels: np.ndarray) -> np.ndarray:
    """The middle colour of the rim of an image (height, width, 3), 0 to 255."""
    import numpy as np

    deep = max(1, round(min(pixels.shape[:2]) * _RIM))
    sides = (pixels[:deep], pixels[-deep:], pixels[:, :deep], pixels[:, -deep:])
    return np.median(np.concatenate([side.reshape(-1, 3) for side in sides]), axis=0)


def find_ground_share(pixels: np.ndarray, ground: np.ndarray, *, has_openings: bool = False) -> np.ndarray:
    """How much each pixel is ground, 0 to 1 (height, width, 1): those near its colour that hang together with the rim,
    so that a thing of that colour keeps its own light and shade; with `has_openings` also what shows inside it."""
    import numpy as np
    from scipy import ndimage

    far = np.abs(pixels - ground).max(axis=-1)
    labelled: Any = ndimage.label(far < _NEAR)
    pieces = np.asarray(labelled[0], np.int64)
    rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    found = [*rim[rim > 0], *(_find_openings(far, pieces, rim) if has_openings else ())]
    share = np.clip((_NEAR - far) / (_NEAR - _GROUND), 0, 1) * np.isin(pieces, found)
    return share[..., None]


def _find_openings(far: np.ndarray, pieces: np.ndarray, rim: np.ndarray) -> list[int]:
    """The numbers of those `pieces` apart from the rim that are as even as the ground and end as sharply as it does.
    White parts of a thing have light and shade, which the threshold of the pieces cuts anywhere."""
    import numpy as np
    from scipy import ndimage

    edge = max(1, round(_EDGE * len(far)))
    found: list[int] = []
    for number in np.flatnonzero(np.bincount(pieces.ravel()) >= _SPECK * far.size):
        if number == 0 or number in rim:
            continue
        piece = pieces == number
        inner = np.asarray(ndimage.binary_erosion(piece, iterations=max(1, edge // 2)), bool)
        reach = np.asarray(ndimage.binary_dilation(piece, iterations=edge), bool)
        around = np.asarray(ndimage.binary_dilation(reach, iterations=max(1, edge // 2)), bool) & ~reach
        if not inner.any() or not around.any():
            continue
        if np.percentile(far[inner], 90) <= _EVEN and np.percentile(far[around], 10) >= _SHARP:
            found.append(int(number))
    return found


def find_changed(image: Image.Image, background: np.ndarray) -> Image.Image:
    """A mask (L) of what covers `background`, pixels (height, width, 3) from 0 to 255, in an image of its size; a
    shadow on it is none of that."""
    import numpy as np
    from scipy import ndimage

    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    far = np.abs(pixels - background).max(axis=-1)
    ratios = (pixels + 1) / (background + 1)
    lightness = ratios.mean(axis=-1)
    is_shade = (np.ptp(ratios, axis=-1) < _SAME_HUE) & (lightness < 1) & (lightness > 1 - _SHADOW - _SAME_HUE)
    shares = np.clip((far - _GROUND) / (_NEAR - _GROUND), 0, 1) * ~is_shade
    inner = np.asarray(ndimage.binary_fill_holes(shares > 0.5), bool)
    return Image.fromarray((255 * np.where(inner, 1.0, shares)).round().astype(np.uint8))


def cut_out(image: Image.Image, side: int, *, has_openings: bool = False) -> Cutout:
    """The thing in a square image on a plain ground, `side` px wide and high. At its edge, where colours of thing and
    ground are mixed, that of the ground is taken out by what the thing has further inside. With `has_openings` the
    ground that shows inside it is cut away too."""
    import numpy as np
    from scipy import ndimage

    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    ground = find_ground(pixels)
    shares = _drop_specks(1 - find_ground_share(pixels, ground, has_openings=has_openings)[..., 0])
    shares = _drop_stains(shares, np.abs(pixels - ground).max(axis=-1))
    inside = np.asarray(ndimage.binary_erosion(shares > 0.5, iterations=max(1, round(_EDGE * len(pixels)))), bool)
    if inside.any():
        nearest: Any = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
        pure = pixels[tuple(nearest)]
        mixed = ((pixels - ground) * (pure - ground)).sum(-1) / np.maximum(((pure - ground) ** 2).sum(-1), 1.0)
        shares = np.where(inside, shares, np.minimum(shares, np.clip(mixed, 0, 1)))
        unmixed = ground + (pixels - ground) / np.maximum(shares, _THIN)[..., None]
        pixels = np.where(inside[..., None], pixels, np.clip(unmixed, 0, 255))
    colours, shares = _resize(pixels * shares[..., None], shares, side)
    return Cutout(colours, shares, _find_box(shares[..., 0]))


def put_on(whole: np.ndarray, cutout: Cutout, left: int, top: int) -> None:
    """Lay a cutout over the pixels (height, width, 3) of an image, its upper left corner at that place; what lies
    outside is left out."""
    height, width = whole.shape[:2]
    side = len(cutout.shares)
    inner = (slice(max(0, -top), min(side, height - top)), slice(max(0, -left), min(side, width - left)))
    part = whole[max(0, top) : max(0, top) + inner[0].stop - inner[0].start]
    part = part[:, max(0, left) : max(0, left) + inner[1].stop - inner[1].start]
    part *= 1 - cutout.shares[inner]
    part += cutout.colours[inner]


def shade_ground(whole: np.ndarray, middle: float, bottom: float, wide: float) -> None:
    """Darken the pixels of an image below a thing that is `wide` px wide, its foot at (`middle`, `bottom`)."""
    import numpy as np

    rows = np.arange(whole.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(whole.shape[1], dtype=np.float32)[None]
    high = _SHADOW_HIGH * wide
    far = ((columns - middle) / (0.5 * wide)) ** 2 + ((rows - (bottom - 0.3 * high)) / high) ** 2
    whole *= 1 - (_SHADOW * np.exp(-1.6 * far))[..., None]


def sink(cutout: Cutout) -> Cutout:
    """A cutout whose foot fades, as of what lies in the water."""
    import numpy as np

    _, top, _, bottom = cutout.box
    deep = max(1.0, _DEPTH * (bottom - top))
    rows = np.arange(len(cutout.shares), dtype=np.float32)[:, None, None]
    seen = np.clip((bottom - rows) / deep, 0, 1)
    return Cutout(cutout.colours * seen, cutout.shares * seen, cutout.box)


def _drop_specks(shares: np.ndarray) -> np.ndarray:
    """`shares` (height, width) without the pieces that hang together with nothing and are smaller than any thing."""
    import numpy as np
    from scipy import ndimage

    labelled: Any = ndimage.label(shares > 0)
    pieces = np.asarray(labelled[0], np.int64)
    sizes = np.bincount(pieces.ravel())
    return np.where(sizes[pieces] < _SPECK * shares.size, 0, shares)


def _drop_stains(shares: np.ndarray, far: np.ndarray) -> np.ndarray:
    """`shares` (height, width) without small pale pieces that reach out of the thing into the rim, where no thing is:
    the model tints its ground beside dark parts. `far` is how far each pixel is from the ground's colour, 0 to 255."""
    import numpy as np
    from scipy import ndimage

    is_thing = (shares > 0) & (far >= _STAIN)
    reach = np.asarray(ndimage.binary_dilation(is_thing, iterations=max(1, round(_EDGE * len(far)))), bool)
    labelled: Any = ndimage.label((shares > 0) & ~reach)
    pieces = np.asarray(labelled[0], np.int64)
    is_small = np.bincount(pieces.ravel()) < _STAIN_AREA * shares.size
    deep = max(1, round(len(far) * _RIM))
    rim = pieces.copy()
    rim[deep:-deep, deep:-deep] = 0
    return np.where((pieces > 0) & is_small[pieces] & np.isin(pieces, rim), 0, shares)


def _resize(colours: np.ndarray, shares: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Both at another size; `colours` are multiplied by `shares`."""
    import numpy as np

    layers = [*np.moveaxis(colours, -1, 0), 255 * shares]
    sized = [Image.fromarray(one.astype(np.float32)).resize((side, side), Image.Resampling.LANCZOS) for one in layers]
    red, green, blue, share = (np.asarray(one, np.float32) for one in sized)
    share = np.clip(share / 255, 0, 1)[..., None]
    return np.clip(np.stack([red, green, blue], -1), 0, 255 * share), share


def _find_box(shares: np.ndarray) -> tuple[int, int, int, int]:
    import numpy as np

    rows, columns = (np.flatnonzero((shares > 0.5).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 0, 0, len(shares), len(shares)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
