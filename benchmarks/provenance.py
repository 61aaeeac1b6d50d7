"""What signing takes: time and bytes for each format, the path of saving with and without, and checking a file.

Times are CPU of the whole process, as signing runs beside the lanes; the fastest of several rounds counts. The image is
skimage's astronaut at 1024 px.
"""

from __future__ import annotations

import io
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from benchmarks.report import Row
from studio.core.provenance import SigningOrder
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.core.source_type import GENERATED
from studio.engine.audit import AuditLog
from studio.engine.moderation import Moderation
from studio.engine.storage.inputs import Images
from studio.engine.storage.outputs import Outputs
from studio.engine.storage.signing import AssetSigner
from studio.library.asset_index import AssetIndex
from studio.library.database import Database
from studio.library.held_images import HeldImages
from studio.trust.sign import Credentials

_SIDE = 1024
_ROUNDS = 7
_LIMITS = {"png": 40.0, "jpeg": 15.0, "webp": 15.0, "avif": 15.0}  # ms of CPU


def rows() -> Iterator[Row]:
    """Signing of each format, saving with and without, ten edits deep, and checking."""
    image = make_photograph()
    with tempfile.TemporaryDirectory() as folder:
        credentials = Credentials(Path(folder) / "trust")
        credentials.check_signer()
        for kind, limit in _LIMITS.items():
            data = _encode(image, kind)
            order = SigningOrder(asset=_make_asset("first"))
            signed = credentials.sign(data, kind, order)
            took = _time_cpu(lambda data=data, kind=kind, order=order: credentials.sign(data, kind, order))
            yield Row(f"signing {kind.upper()}, CPU", took, limit, " ms", f"{_SIDE} px, {len(data) / 1e3:,.0f} kB")
            yield Row(f"bytes that signing adds to {kind.upper()}", (len(signed) - len(data)) / 1e3, 6, " kB")
        yield from _measure_chain(credentials, image)
        yield from _measure_saving(Path(folder), credentials, image)
        signed = credentials.sign(_encode(image, "png"), "png", SigningOrder(asset=_make_asset("first")))
        took = _time_cpu(lambda: credentials.read(signed))
        yield Row("checking a PNG, CPU with that of the process that reads it", took, 400, " ms")


def make_photograph() -> Image.Image:
    """A photograph of 1024 × 1024 px."""
    import skimage.data

    return Image.fromarray(skimage.data.astronaut()).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)


def _measure_chain(credentials: Credentials, image: Image.Image) -> Iterator[Row]:
    data = _encode(image, "jpeg")
    signed = credentials.sign(data, "jpeg", SigningOrder(asset=_make_asset("first")))
    order = SigningOrder(asset=_make_asset("edit"))
    for _ in range(10):
        order = SigningOrder(asset=_make_asset("edit"), derived=True, parent=credentials.archive_own(signed))
        signed = credentials.sign(data, "jpeg", order)
    took = _time_cpu(lambda: credentials.sign(data, "jpeg", order))
    yield Row("the same after ten edits, CPU", took, 40, " ms", f"{(len(signed) - len(data)) / 1e3:.0f} kB added")


def _measure_saving(folder: Path, credentials: Credentials, image: Image.Image) -> Iterator[Row]:
    times = {}
    for sign in ("off", "on"):
        root = folder / sign
        root.mkdir()
        database = Database(root / "library.db")
        signer = AssetSigner(credentials, Images(database, root, credentials))
        outputs = Outputs(
            root,
            AssetIndex(database, root),
            tool="Easel",
            moderation=Moderation(None, AuditLog(root / "logs")),
            held=HeldImages(database, root),
            signer=signer,
        )
        settings, numbers = Settings(sign=sign), iter(range(1000))

        def save(outputs: Outputs = outputs, settings: Settings = settings, numbers: Iterator[int] = numbers) -> None:
            outputs.save(_make_asset(f"{next(numbers):x}"), RenderedImage(image=image), {}, settings)

        times[sign] = _time_cpu(save)
        database.close()
    added = times["on"] - times["off"]
    yield Row("what signing adds to saving a PNG, CPU", added, 40, " ms", f"without {times['off']:.0f} ms")


def _make_asset(name: str) -> Asset:
    return Asset(
        id=f"{name}-0",
        job_id=name,
        user="",
        index=0,
        path=Path(),
        width=_SIDE,
        height=_SIDE,
        seed=1,
        created=time.time(),
        request=GenerationRequest(model="embedded", prompt="a portrait"),
        source_type=GENERATED,
    )


def _encode(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, quality=90)
    return out.getvalue()


def _time_cpu(work: Callable[[], object]) -> float:
    """Milliseconds of CPU that `work` takes, the fastest of several rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = _read_cpu()
        work()
        best = min(best, _read_cpu() - begin)
    return best * 1000


def _read_cpu() -> float:
    """Seconds of CPU that this process and its ended children took so far."""
    taken = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in taken)
