"""The composition root: the only file that knows every part."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio import doctor
from studio.cluster.backend import Cluster
from studio.cluster.http_transport import KEY_NAME as CLUSTER_KEY
from studio.cluster.http_transport import HttpTransport, parse_machines
from studio.cluster.machines import Machines
from studio.cluster.ray_transport import RayTransport, ReplicaStudio, is_ray, parse_ray
from studio.cluster.replica import Replica
from studio.core.allocator import keep_freed_memory
from studio.core.errors import UnknownModel
from studio.core.model import GPU_LANE
from studio.core.ports import Backend
from studio.core.provider import ProviderSpec
from studio.core.settings import Settings
from studio.engine.chat_account import ChatAccount
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups, Successor
from studio.engine.money.cloud_accounts import CloudAccounts
from studio.engine.money.keys import KeyStore
from studio.engine.money.system_keyring import SystemKeyring
from studio.engine.plugins import discover
from studio.engine.prompt_room import PromptRoom
from studio.engine.settings_store import SettingsStore
from studio.engine.studio import SocialParts, Studio
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts
from studio.finishing.hidden_text import hide_text, read_hidden
from studio.library.database import Database
from studio.library.process_folders import ProcessFolder
from studio.pipelines.catalog.bundled_upscaler import unpack_upscalers
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines, resolve_device
from studio.pipelines.upscale.enhancers import Enhancers
from studio.preprocessors.common.preprocessor_backend import PreprocessorBackend
from studio.providers.common.chat_connection import ChatConnection
from studio.providers.common.chat_errors import KEY_NAME as CHAT_KEY
from studio.providers.common.moderation_service import ModerationService
from studio.providers.common.retired_models import find_successor
from studio.providers.common.service_backend import Service
from studio.providers.openai import PROVIDER as OPENAI
from studio.social.advice import Advisor
from studio.social.export import SocialBackend
from studio.social.platforms import Platforms
from studio.social.templates import Templates
from studio.trust.moderator import Filters
from studio.trust.sign import Credentials
from studio.vision.image_facts import find_image_facts
from studio.vision.sentence_encoder import find_sentence_encoder

SHORT_HASH_LENGTH = 10  # characters, as AUTOMATIC1111 writes it
# Beside those of models; see collect_replica_settings.
_REPLICA_SETTINGS = frozenset({"max_upload_mb", "max_megapixels", "log_level"})


def build_studio(settings: SettingsStore) -> Studio:
    """Put the studio together; nothing runs until `engine.start()`. Imports no torch.

    Raises:
        StorageFailed: the outputs folder cannot be written. NotConfigured: the machines of a cluster do not fit.
    """
    current, own = settings.current, settings.folder
    keys = KeyStore(own / "keys.json", os.environ, SystemKeyring())
    fonts = Fonts(current.models_dir / "fonts")
    unpack_upscalers(current.models_dir)
    catalog = Catalog(
        current.models_dir, discover("studio.pipelines.families", "PIPELINE"), current.models_dir / ".cache"
    )
    preprocessing = PreprocessorBackend(
        discover("studio.preprocessors", "PREPROCESSOR"),
        current.models_dir,
        device=lambda now: resolve_device(now.device),
    )
    hub = Hub(
        current.models_dir,
        lambda: settings.current.offline,
        catalog.refresh,
        list_downloadable_weights=lambda: [
            *preprocessing.list_downloadable_weights(),
            *enhancers.list_downloadable_weights(),
        ],
    )
    local = LocalPipelines(lambda: settings.current, catalog, hub, preprocessing)
    enhancers = Enhancers(catalog, current.models_dir, local.resources)
    platforms = Platforms(own / "platforms.toml")
    advisor = Advisor()
    services = [_build_service(spec, keys, settings) for spec in discover("studio.providers", "PROVIDER")]
    tools: list[Backend] = [enhancers, preprocessing, FinishingBackend(fonts), SocialBackend(platforms, advisor, fonts)]
    machines = _find_machines(settings.current, keys)
    engine = Engine(
        settings=settings,
        backends=[*_share_with_machines([local, *tools], machines), *services],
        database=Database(current.outputs_dir / "library.db"),
        lookups=_build_lookups(catalog, keys, own),
    )
    chat = ChatConnection(lambda: settings.current, lambda: keys.find(CHAT_KEY))
    return Studio(
        engine,
        settings,
        store=local,
        doctor=lambda: [*doctor.run_checks(settings.current), *(machines.run_checks() if machines else [])],
        social=SocialParts(platforms, advisor, Templates(own / "templates")),
        prompts=PromptRoom(chat, engine.ledger, lambda: settings.current, engine.check_answer),
        chat=ChatAccount(chat, keys, CHAT_KEY),
        clouds=CloudAccounts(services, keys, lambda: settings.current),
        fonts=fonts.names,
        captioner=preprocessing,
        find_image_facts=find_image_facts,
        read_hidden=read_hidden,
    )


def _build_lookups(catalog: Catalog, keys: KeyStore, own: Path) -> Lookups:
    """What the engine asks plug-ins; `own` is the folder of the studio's own files."""
    return Lookups(
        model_hash=lambda model_id: _get_short_hash(catalog, model_id),
        find_by_hash=catalog.find_checkpoint_by_hash,
        find_successor=_find_successor,
        embedder=find_sentence_encoder(),
        credentials=Credentials(own / "trust"),
        hide_text=hide_text,
        moderator=Filters(own / "words.toml", _build_moderation_service(keys).check),
    )


def _find_machines(settings: Settings, keys: KeyStore) -> Machines | None:
    """The other studios that generate for this one, None where there are none.

    Raises:
        NotConfigured: their addresses or tokens do not fit, or Ray is asked for and not installed.
    """
    if not settings.cluster.strip():
        return None
    if is_ray(settings.cluster):
        transport = RayTransport(parse_ray(settings.cluster), start_replica, collect_replica_settings(settings))
        machines = Machines(transport.machines, transport)
    else:
        tokens = keys.get(CLUSTER_KEY) if keys.is_set(CLUSTER_KEY) else ""
        machines = Machines(parse_machines(settings.cluster, tokens), HttpTransport())
    machines.start()
    return machines


def build_replica(studio: Studio) -> Replica:
    """`studio` as one machine of other studios' clusters."""
    engine, store = studio.engine, studio.store
    return Replica(
        engine.passes.render,
        engine.models,
        lambda: [one.model for one in store.get_memory_report().resident],
        lambda: sum(engine.count_jobs_by_lane().get(GPU_LANE, (0, 0))),
        lambda: studio.settings.current,
    )


def collect_replica_settings(settings: Settings) -> dict[str, Any]:
    """What the studios that a cluster starts by itself take over of these `settings`: how models run. Texts and images
    are moderated here."""
    models = {one.name for one in dataclasses.fields(settings) if one.metadata["group"] == "Models"}
    taken = {name: value for name, value in settings.to_json().items() if name in models | _REPLICA_SETTINGS}
    return {**taken, "models_dir": str(settings.models_dir.absolute())}


def start_replica(values: Mapping[str, Any]) -> ReplicaStudio:
    """A studio without page, with the settings `values`, which the environment of its machine overrides. What it writes
    lies in a temporary folder."""
    own = ProcessFolder("easel-replica-")
    folder = own.path
    config = folder / "config.json"
    config.write_text(json.dumps(dict(values)))
    flags = {"outputs_dir": folder / "outputs", "logs_dir": folder / "logs", "cluster": "", "import_folders": ""}
    store = SettingsStore.load(config, os.environ, flags)
    if store.current.keep_memory:
        keep_freed_memory()
    studio = build_studio(store)
    studio.engine.start()

    def close() -> None:
        studio.engine.close(drain=0.0)
        own.remove()

    return ReplicaStudio(build_replica(studio), store.current, close)


def _share_with_machines(backends: list[Backend], machines: Machines | None) -> list[Backend]:
    """The local `backends`, or one that asks the machines first."""
    return backends if machines is None else [Cluster(machines, backends)]


def _build_service(spec: ProviderSpec, keys: KeyStore, settings: SettingsStore) -> Service:
    """The service at the address that the environment gives, else the setting of its name where there is one."""

    def get_address() -> str:
        return os.environ.get(spec.base_env, "") or getattr(settings.current, f"{spec.id}_url", "")

    return Service(spec, keys, get_address, settings.folder / "services")


def _build_moderation_service(keys: KeyStore) -> ModerationService:
    """At OpenAI's address, or where the environment moves it to, with the key for OpenAI's images."""
    return ModerationService(
        lambda: keys.get(OPENAI.keys[0]), lambda: os.environ.get(OPENAI.base_env, "") or OPENAI.base_url
    )


def _find_successor(name: str) -> Successor | None:
    """The successor of a cloud model that has ended."""
    found = find_successor(name)
    if found is None:
        return None
    ended = "ended" if found.ends < datetime.date.today() else "ends"
    return Successor(
        found.model, f"“{name}” {ended} on {found.ends} and is replaced by {found.model}. {found.note}".strip()
    )


def _get_short_hash(catalog: Catalog, model_id: str) -> str:
    """The checkpoint's hash when somebody asked for it before; hashing gigabytes is not done on the way to an image."""
    try:
        return catalog.checkpoint(model_id).sha256[:SHORT_HASH_LENGTH]
    except UnknownModel:  # a cloud model
        return ""
