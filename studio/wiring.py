"""The composition root: the only file that knows every part."""

from __future__ import annotations

from studio import doctor
from studio.core.errors import UnknownModel
from studio.engine.database import Database
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.plugins import discover
from studio.engine.settings_store import SettingsStore
from studio.engine.studio import Studio
from studio.pipelines.catalog import Catalog
from studio.pipelines.hub import Hub
from studio.pipelines.local import LocalPipelines

SHORT_HASH = 10  # characters, as AUTOMATIC1111 writes it


def build(settings: SettingsStore) -> Studio:
    """Put the studio together; nothing runs until `engine.start()`. Imports no torch.

    Raises:
        StorageFailed: the outputs folder cannot be written.
    """
    current = settings.current
    specs = discover("studio.pipelines.families", "PIPELINE")
    catalog = Catalog(current.models_dir, specs, current.models_dir / ".cache")
    hub = Hub(current.models_dir, lambda: settings.current.offline, catalog.refresh)
    local = LocalPipelines(lambda: settings.current, catalog, hub)
    engine = Engine(
        settings=settings,
        backends=[local],
        database=Database(current.outputs_dir / "library.db"),
        lookups=Lookups(model_hash=lambda model_id: _short_hash(catalog, model_id)),
    )
    return Studio(engine, settings, store=local, doctor=lambda: doctor.run(settings.current))


def _short_hash(catalog: Catalog, model_id: str) -> str:
    """The checkpoint's hash when somebody asked for it before; hashing gigabytes is not done on the way to a picture."""
    try:
        return catalog.checkpoint(model_id).sha256[:SHORT_HASH]
    except UnknownModel:  # a cloud model
        return ""
