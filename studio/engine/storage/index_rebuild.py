"""The recipe that an image carries, and the index of images made again from the recipes."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from studio.core.errors import StudioError
from studio.core.request import MAX_SEED, GenerationRequest
from studio.core.result import Asset
from studio.core.stored_requests import parse_requests
from studio.engine.metadata import embed
from studio.engine.storage.file_names import find_path_user
from studio.library.asset_index import AssetIndex
from studio.library.trash import TRASH_FOLDER, find_original_path

_log = logging.getLogger(__name__)


def build_recipe(asset: Asset, version: str) -> dict[str, Any]:
    """The metadata of an image that are enough to index and to draw it again."""
    return {
        "studio": version,
        "id": asset.id,
        "job": asset.job_id,
        "index": asset.index,
        "created": asset.created,
        "seed": asset.seed,
        "request": asset.request.to_json(),
        "notes": list(asset.notes),
        "parents": list(asset.parents),
        "history": [request.to_json() for request in asset.history],
        "label": asset.label,
        **({"source": asset.source} if asset.source else {}),
    }


def rebuild_index(index: AssetIndex) -> int:
    """Index every image of the outputs folder, its trash too, that carries our recipe; returns how many were new.
    Images that are indexed already are left alone."""
    known = index.list_paths()
    added = 0
    for path in (*_walk_images(index.root), *_walk_images(index.root / TRASH_FOLDER)):
        relative = PurePosixPath(index.get_relative_path(path))
        if str(relative) in known:
            continue
        original = find_original_path(relative) if relative.parts[0] == TRASH_FOLDER else None
        asset = _read_asset(path, find_path_user(original or relative))
        added += asset is not None and index.add_found(asset, str(original or ""))
    return added


def _walk_images(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix in embed.FILE_EXTENSIONS.values():
                yield Path(place, name)


def _read_asset(path: Path, user: str) -> Asset | None:
    """The image as described by its own recipe; None when it carries none of ours."""
    try:
        found = embed.read_metadata(path)
        recipe = found.recipe or {}
        request = GenerationRequest.from_stored_json(recipe["request"])
        with Image.open(path) as image:
            width, height = image.size
        if not re.fullmatch(r"[0-9a-f]{1,64}-\d{1,6}", str(recipe["id"])):
            raise ValueError("no id of ours")
        return Asset(
            id=str(recipe["id"]),
            job_id=str(recipe["job"]),
            user=user,
            index=int(recipe["index"]),
            path=path,
            width=width,
            height=height,
            seed=int(recipe["seed"]) % (MAX_SEED + 1),
            created=float(recipe["created"]),
            request=request,
            infotext=found.infotext,
            notes=tuple(map(str, recipe.get("notes", ()))),
            parents=tuple(map(str, recipe.get("parents", ()))),
            label=str(recipe.get("label", "")),
            source_type=found.source_type,
            source=str(recipe.get("source", ""))[:60],
            history=parse_requests(json.dumps(recipe.get("history", []))),
        )
    except (StudioError, KeyError, TypeError, ValueError, OSError) as error:
        _log.debug("%s is not indexed: %r", path.name, error)
        return None
