"""The engine's methods for images: return saved ones, and keep new ones for requests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from studio.core.errors import NotFound, QuotaExceeded
from studio.core.image_gate import ImageLimits
from studio.core.result import Asset
from studio.core.settings import Settings
from studio.core.user import User
from studio.engine.moderation import Moderation
from studio.engine.settings_store import SettingsStore
from studio.engine.storage.inputs import Images, KeptImage
from studio.engine.storage.outputs import Outputs
from studio.library.asset_index import AssetIndex
from studio.library.media import MEDIA_TYPES


class Gallery:
    """Each user's own images. All methods may be called from any thread."""

    def __init__(
        self,
        settings: SettingsStore,
        library: AssetIndex,
        outputs: Outputs,
        images: Images,
        moderation: Moderation,
    ) -> None:
        self.library = library
        self.moderation = moderation
        self._settings = settings
        self._outputs = outputs
        self._images = images

    def asset(self, asset_id: str, user: User) -> Asset:
        """One saved image; raises NotFound for another user's."""
        return self.library.get(asset_id, user.name)

    def assets(self, user: User, limit: int = 50) -> list[Asset]:
        """The user's latest images, newest first."""
        return self.library.list_newest(user.name, limit)

    def get_thumbnail(self, asset_id: str, user: User) -> Path:
        """A small image file of the asset, at most 384 px; raises NotFound as `asset`."""
        asset = self.asset(asset_id, user)
        if asset.path.suffix in MEDIA_TYPES:
            raise NotFound("Audio and video have no thumbnail.", hint="Open the file itself.")
        return self._outputs.get_thumbnail(asset, ImageLimits.of(self._settings.current))

    @property
    def outputs_dir(self) -> Path:
        """The folder that all saved images and thumbnails lie below."""
        return self._outputs.root

    def keep_image(self, source: Path | bytes | Image.Image, user: User) -> KeptImage:
        """Let an image in, so that requests may name it by its hash.

        Raises:
            BadImage: the gate refuses it; the message says why. StorageFailed: it cannot be written.
            ContentRefused: the settings refuse what the filters find in it. QuotaExceeded: the images that the user
                brought take all of the user's disk space.
        """
        settings = user.adjust_settings(self._settings.current)
        self._check_room(user, settings)

        def check(image: Image.Image) -> None:
            self.moderation.check_upload(image, user.name, settings)

        return self._images.keep(source, user.name, ImageLimits.of(settings), check)

    def keep_version(self, image: Image.Image, origin: str | bytes, user: User) -> KeptImage:
        """Let in pixels that were made of another image, the kept one of that hash or a file, with its source type and
        credentials; raises as `keep_image` and `get_input`."""
        settings = user.adjust_settings(self._settings.current)
        self._check_room(user, settings)
        self.moderation.check_upload(image, user.name, settings)
        return self._images.keep_version(image, origin, user.name)

    def _check_room(self, user: User, settings: Settings) -> None:
        limit = settings.disk_gb_per_user * 2**30
        if limit and (used := self._images.sum_bytes(user.name)) >= limit:
            raise QuotaExceeded(
                f"The images that you brought take {used / 2**30:.2f} of {settings.disk_gb_per_user:g} GiB.",
                hint="Those that nothing uses are removed after a while. Ask an administrator for more.",
                details={"limit": int(limit), "used": used},
            )

    def keep_asset(self, asset_id: str, user: User) -> KeptImage:
        """Make one of the user's own results an image that requests may name; raises as `asset` and `keep_image`."""
        return self._images.keep_asset(self.asset(asset_id, user), ImageLimits.of(self._settings.current))

    def get_input(self, content_hash: str, user: User) -> KeptImage:
        """A kept image's data; raises NotFound for another user's."""
        return self._images.get(content_hash, user.name)

    def mark_used(self, names: Iterable[str], user: User) -> None:
        """Note that a page still names these kept images, which are removed when nothing does for a month."""
        self._images.mark_used(names, user.name)

    def open_input(self, content_hash: str, user: User) -> Image.Image:
        """A kept image as pixels; raises NotFound as `get_input`."""
        return self._images.open(content_hash, user.name)

    def get_kept_file(self, content_hash: str, user: User) -> Path:
        """The PNG file of a kept image; raises as `kept`."""
        return self._images.file(content_hash, user.name)
