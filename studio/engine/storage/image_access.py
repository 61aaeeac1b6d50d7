"""The half of the one door that gives pictures: saved ones out, and new ones in for requests to work on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from studio.core.image_gate import ImageLimits
from studio.core.result import Asset
from studio.core.user import User
from studio.engine.settings_store import SettingsStore
from studio.engine.storage.asset_index import AssetIndex
from studio.engine.storage.inputs import KeptPicture, Pictures
from studio.engine.storage.outputs import Outputs


class Gallery:
    """Each user's own pictures. All methods may be called from any thread."""

    def __init__(self, settings: SettingsStore, library: AssetIndex, outputs: Outputs, pictures: Pictures) -> None:
        self.library = library
        self._settings = settings
        self._outputs = outputs
        self._pictures = pictures

    def asset(self, asset_id: str, user: User) -> Asset:
        """One saved picture; raises NotFound for another user's."""
        return self.library.get(asset_id, user.name)

    def assets(self, user: User, limit: int = 50) -> list[Asset]:
        """The user's latest pictures, newest first."""
        return self.library.list_newest(user.name, limit)

    def get_thumbnail(self, asset_id: str, user: User) -> Path:
        """A small picture file of the asset, at most 384 px; raises NotFound as `asset`."""
        return self._outputs.get_thumbnail(self.asset(asset_id, user))

    @property
    def outputs_dir(self) -> Path:
        """The folder that all saved pictures and thumbnails lie below."""
        return self._outputs.root

    def keep_picture(self, source: Path | bytes | Image.Image, user: User) -> KeptPicture:
        """Let a picture in, so that requests may name it by its hash.

        Raises:
            BadImage: the gate refuses it; the message says why. StorageFailed: it cannot be written.
        """
        return self._pictures.keep(source, user.name, ImageLimits.of(self._settings.current))

    def keep_asset(self, asset_id: str, user: User) -> KeptPicture:
        """Make one of the user's own results a picture that requests may name; raises as `asset` and `keep_picture`."""
        return self._pictures.keep_asset(self.asset(asset_id, user), ImageLimits.of(self._settings.current))

    def kept(self, content_hash: str, user: User) -> KeptPicture:
        """What is known of a kept picture; raises NotFound for another user's."""
        return self._pictures.get(content_hash, user.name)

    def get_kept_file(self, content_hash: str, user: User) -> Path:
        """The PNG file of a kept picture; raises as `kept`."""
        return self._pictures.file(content_hash, user.name)
