"""Signing as the last step before a file is written: what is signed of which asset, and what becomes of a file that
cannot be signed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from studio.core.errors import StudioError
from studio.core.finish import MetadataPolicy, OutputOptions
from studio.core.image_fields import list_image_hashes
from studio.core.provenance import ContentCredentials, SigningOrder
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.core.source_type import draws_anew
from studio.engine.metadata import embed
from studio.engine.storage.hidden_marks import HiddenMarks
from studio.engine.storage.inputs import Images

MAX_INPUTS = 8  # images besides the parent whose credentials are carried on
_MAX_SHARE = 0.25  # of a file's limit that its credentials may take

_log = logging.getLogger(__name__)


class AssetSigner:
    """Prepares the signing of assets. Thread-safe."""

    def __init__(
        self, credentials: ContentCredentials | None, images: Images, marks: HiddenMarks | None = None
    ) -> None:
        self._credentials = credentials
        self._images = images
        self._marks = marks or HiddenMarks(None)

    def mark(self, asset: Asset, rendered: RenderedImage, settings: Settings) -> RenderedImage:
        """`rendered` with the hidden mark in its pixels, where the settings want one."""
        return self._marks.apply(asset, rendered, settings)

    def prepare(self, asset: Asset, rendered: RenderedImage, settings: Settings) -> FileSigner | None:
        """What signs the asset's file; None where the settings or the metadata policy want none. Whatever stands in the
        way is among its notes."""
        options = rendered.file or asset.request.file or OutputOptions()
        if self._credentials is None or settings.sign != "on" or options.keep is MetadataPolicy.NOTHING:
            return None
        try:
            self._credentials.check_signer()
        except StudioError as error:
            return FileSigner(None, None, (_describe_failure(error),))
        notes: list[str] = []
        order = self._build_order(self._credentials, asset, rendered, notes)
        full = options.keep is MetadataPolicy.ALL and settings.embed_recipe
        training = "" if settings.claim_training == "none" else settings.claim_training
        order = dataclasses.replace(order, full=full, training=training)
        return FileSigner(self._credentials, order, tuple(notes))

    def _build_order(
        self, credentials: ContentCredentials, asset: Asset, rendered: RenderedImage, notes: list[str]
    ) -> SigningOrder:
        request = asset.request
        delivered = self._read_original(credentials, rendered, notes)
        named = list_image_hashes(request)
        if delivered or asset.source:
            return SigningOrder(
                asset=asset,
                derived=True,
                delivered=True,
                parent=delivered,
                inputs=self._list_archives(named, asset.user),
            )
        if request.source is None or draws_anew(request):
            return SigningOrder(asset=asset, inputs=self._list_archives(named, asset.user))
        return SigningOrder(
            asset=asset,
            derived=True,
            parent=self._images.get_credentials(request.source, asset.user),
            inputs=self._list_archives([name for name in named if name != request.source], asset.user),
        )

    def _read_original(self, credentials: ContentCredentials, rendered: RenderedImage, notes: list[str]) -> bytes:
        """The credentials of the file that a service or another program delivered."""
        if rendered.original is None:
            return b""
        try:
            return credentials.take(rendered.original, patient=True)[1]
        except StudioError as error:
            notes.append(f"The Content Credentials of the original file were not carried on: {error.message}")
            return b""

    def _list_archives(self, names: tuple[str, ...] | list[str], user: str) -> tuple[bytes, ...]:
        found = (self._images.get_credentials(name, user) for name in names)
        return tuple(archive for archive in found if archive)[:MAX_INPUTS]


@dataclass(frozen=True)
class SigningLevel:
    """A way to sign: `order` is None for not at all; `bytes` is how much it adds to a file."""

    order: SigningOrder | None
    bytes: int
    note: str = ""


class FileSigner:
    """Signs the file of one asset. `notes` say what the user should know."""

    def __init__(
        self, credentials: ContentCredentials | None, order: SigningOrder | None, notes: tuple[str, ...] = ()
    ) -> None:
        self._credentials = credentials
        self._order = order
        self.notes = notes

    def sign(self, data: bytes, kind: str) -> bytes:
        """`data` with credentials: without those of earlier versions where these stand in the way; as it is, with a
        note, where it cannot be signed."""
        order = self._order
        signed = self._sign(data, kind, order)
        if signed is data and order is not None and (order.parent or order.inputs):
            return self._sign(data, kind, dataclasses.replace(order, parent=b"", inputs=()))
        return signed

    def list_levels(self, kind: str, limit: int) -> Iterator[SigningLevel]:
        """The ways to sign a file of at most `limit` bytes, the most complete first, without signing last."""
        order = self._order
        if order is not None and (order.parent or order.inputs):
            yield from self._measure(order, kind, limit)
            order = dataclasses.replace(order, parent=b"", inputs=())
            text = "The credentials of earlier versions were left out to keep the file below its limit."
            yield from self._measure(order, kind, limit, text)
        elif order is not None:
            yield from self._measure(order, kind, limit)
        yield SigningLevel(None, 0, "Not signed: the credentials would not fit into the file." if order else "")

    def sign_level(self, data: bytes, kind: str, level: SigningLevel) -> bytes:
        """`data` with the credentials of that level."""
        return self._sign(data, kind, level.order)

    def _measure(self, order: SigningOrder, kind: str, limit: int, note: str = "") -> Iterator[SigningLevel]:
        """The level of `order` unless it takes too much of the limit, by what it adds to a small image."""
        small = embed.encode_image(Image.new("RGB", (16, 16)), kind, quality=80)
        added = len(self._sign(small, kind, order)) - len(small)
        if added and added <= _MAX_SHARE * limit:
            yield SigningLevel(order, added, note)

    def _sign(self, data: bytes, kind: str, order: SigningOrder | None) -> bytes:
        if self._credentials is None or order is None:
            return data
        try:
            return self._credentials.sign(data, kind, order)
        except StudioError as error:
            _log.warning("an image is saved unsigned: %s", error.message)
            self.notes = tuple(dict.fromkeys((*self.notes, _describe_failure(error))))
            return data


def _describe_failure(error: StudioError) -> str:
    return f"Not signed: {error.message}"
