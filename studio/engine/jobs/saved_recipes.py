"""Recipes that users saved under a name: whole requests as JSON files, to be loaded, changed, run again and passed on.

Ours lie in studio/engine/recipes, a user's own in a folder, one file each; one of the user's replaces ours of the same
id.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import InvalidRequest, NotFound
from studio.core.file_ids import MAX_NAME_CHARS, make_file_id
from studio.core.request import GenerationRequest
from studio.core.text_checks import check_depth, check_name
from studio.core.user import LOCAL_USER
from studio.engine.metadata.comfyui_graphs import read_graph
from studio.engine.metadata.foreign_words import build_foreign_request

BUNDLED_RECIPES = Path(__file__).parent.parent / "recipes"
MAX_RECIPES = 500  # of one user
MAX_RECIPE_BYTES = 1024 * 1024
_RESERVED_IDS = frozenset({"import"})  # an address of its own

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A saved request; `id` is what it is called in addresses and the name of its file. `about` says what it is
    for."""

    id: str
    name: str
    request: GenerationRequest
    about: str = ""
    own: bool = True

    def to_json(self) -> dict[str, Any]:
        """The recipe as its file holds it."""
        about = {"about": self.about} if self.about else {}
        return {"name": self.name, **about, "request": self.request.to_json()}


@dataclass(frozen=True, kw_only=True)
class ImportedRecipe:
    """What a file asks for, and the settings in it that have no place here."""

    name: str
    about: str
    request: GenerationRequest
    not_applied: tuple[str, ...] = ()


class SavedRecipes:
    """The recipes of one user; the folder is made at the first save. Safe to ask from any thread."""

    def __init__(self, folder: Path, *, ours: Path = BUNDLED_RECIPES) -> None:
        self._folder, self._ours = folder, ours
        self._lock = threading.RLock()

    def of(self, user: str) -> SavedRecipes:
        """Ours with the own recipes of that user."""
        if user == LOCAL_USER.name:
            return self
        return SavedRecipes(self._folder / "users" / quote(user, safe="").replace(".", "%2E"), ours=self._ours)

    def all(self) -> list[Recipe]:
        """All of them in the order of their names, the user's own first; one that cannot be read is left out."""
        found: dict[str, Recipe] = {}
        for folder in (self._ours, self._folder):
            for file in sorted(folder.glob("*.json"))[:MAX_RECIPES] if folder.is_dir() else []:
                try:
                    recipe = self._read(file)
                except InvalidRequest as error:
                    _log.warning("the recipe %s cannot be read: %s", file.name, error.message)
                    continue
                found[recipe.id] = recipe
        return sorted(found.values(), key=lambda each: (not each.own, each.name.casefold()))

    def get(self, name: str) -> Recipe:
        """The recipe of that id or name. Raises NotFound, and InvalidRequest where its file cannot be read."""
        recipe_id = make_recipe_id(name)
        for folder in (self._folder, self._ours):
            file = folder / f"{recipe_id}.json"
            if file.is_file():
                return self._read(file)
        known = ", ".join(each.name for each in self.all()[:10])
        raise NotFound(f"Recipe “{name[:MAX_NAME_CHARS]}” not found.", hint=f"There are: {known}.")

    def save(self, name: str, request: GenerationRequest, about: str = "") -> Recipe:
        """Keep `request` under `name`, in the place of what had that name.

        Raises:
            InvalidRequest: no name, or too many recipes. StorageFailed.
        """
        shown = check_name(" ".join(name.split()), "The name of the recipe")
        recipe = Recipe(id=make_recipe_id(shown), name=shown, request=request.replace(drawn=()), about=about.strip())
        data = json.dumps(recipe.to_json(), ensure_ascii=False, indent=2).encode()
        if len(data) > MAX_RECIPE_BYTES:
            raise InvalidRequest("The recipe is larger than 1 MB.", hint="Shorten it.")
        file = self._folder / f"{recipe.id}.json"
        with self._lock, translate_os_errors("the recipe"):
            if not file.is_file() and self._folder.is_dir() and len(list(self._folder.glob("*.json"))) >= MAX_RECIPES:
                raise InvalidRequest(f"The limit of {MAX_RECIPES} recipes is reached.", hint="Delete some.")
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_synced(file, data)
        return recipe

    def delete(self, name: str) -> None:
        """Delete one of the user's own. Raises NotFound, and InvalidRequest for ours."""
        recipe = self.get(name)
        if not recipe.own:
            raise InvalidRequest(f"The recipe “{recipe.name}” is built in.", hint="It cannot be deleted.")
        with translate_os_errors("the recipes"):
            (self._folder / f"{recipe.id}.json").unlink(missing_ok=True)

    def _read(self, file: Path) -> Recipe:
        try:
            if file.stat().st_size > MAX_RECIPE_BYTES:
                raise InvalidRequest(f"{file.name} is larger than 1 MB.", hint="Delete it.")
            data: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"The recipe {file.name} is no JSON.", hint="Correct or delete it.") from error
        found = read_recipe(data)
        return Recipe(
            id=file.stem,
            name=found.name or file.stem,
            request=found.request,
            about=found.about,
            own=file.parent != self._ours,
        )


def make_recipe_id(name: str) -> str:
    """The id made of a name; raises InvalidRequest as `make_file_id`, and for a name that is an address."""
    found = make_file_id(name, "recipe")
    if found in _RESERVED_IDS:
        raise InvalidRequest("Invalid recipe name.", hint="Choose another name, for example “Summer sale”.")
    return found


def merge_changes(request: GenerationRequest, changes: Mapping[str, Any]) -> GenerationRequest:
    """`request` with `changes`, JSON of a request in which null takes a field back to its default; parts such as
    `hires` are merged field by field, lists replaced. A changed prompt takes the place of a template.

    Raises:
        InvalidRequest: an unknown field or a value that does not fit.
    """
    check_depth(dict(changes), "request")
    base = request.to_json()
    for text, template in (("prompt", "template"), ("negative_prompt", "negative_template")):
        if text in changes and template not in changes:
            base.pop(template, None)
    return GenerationRequest.from_json(_merge(base, changes))


def read_recipe(data: Any) -> ImportedRecipe:
    """What a recipe file of ours, the JSON of a request, a ComfyUI graph (as its API takes it) or a DreamLayer template
    asks for.

    Raises:
        InvalidRequest: it is none of them, or asks for something that is refused.
    """
    check_depth(data, "recipe")
    if not isinstance(data, dict):
        raise _make_unknown_error()
    fields = cast("dict[str, Any]", data)
    name, about = (fields[key] if isinstance(fields.get(key), str) else "" for key in ("name", "about"))
    if isinstance(fields.get("request"), dict):
        return ImportedRecipe(name=name, about=about, request=GenerationRequest.from_stored_json(fields["request"]))
    graph = fields["prompt"] if isinstance(fields.get("prompt"), dict) else fields
    if any(isinstance(node, dict) and "class_type" in node for node in cast("dict[str, Any]", graph).values()):
        return _read_graph(graph, fields)
    if isinstance(fields.get("nodes"), list):
        raise InvalidRequest(
            "This is a workflow of ComfyUI's editor.", hint="Export it there with “Export (API)” and import that file."
        )
    if not set(fields) & {"prompt", "template", "task", "model"}:
        raise _make_unknown_error()
    return ImportedRecipe(name="", about="", request=GenerationRequest.from_stored_json(fields))


def _read_graph(graph: Any, fields: Mapping[str, Any]) -> ImportedRecipe:
    values = read_graph(graph) or _read_service_node(graph)
    if values is None:
        raise InvalidRequest("No node with a prompt was found in this graph.", hint="Import a graph that makes images.")
    request, not_applied = build_foreign_request(values)
    if isinstance(values.get("aspect"), str):
        not_applied = tuple(name for name in not_applied if name != "aspect")
        try:
            request = request.replace(aspect=values["aspect"])
        except InvalidRequest:
            not_applied = (*not_applied, "aspect")
    meta = fields.get("meta")
    described: Any = cast("dict[str, Any]", meta).get("description") if isinstance(meta, dict) else ""
    about = described[:200] if isinstance(described, str) else ""
    return ImportedRecipe(name=about[:MAX_NAME_CHARS], about=about, request=request, not_applied=not_applied)


def _read_service_node(graph: Any) -> dict[str, Any] | None:
    """The values of a node that calls a cloud service: such nodes have prompt, model and seed among their inputs."""
    for node in cast("dict[str, Any]", graph).values():
        inputs: Any = cast("dict[str, Any]", node).get("inputs") if isinstance(node, dict) else None
        given = cast("dict[str, Any]", inputs) if isinstance(inputs, dict) else {}
        if not isinstance(given.get("prompt"), str):
            continue
        values = {name: value for name, value in given.items() if not isinstance(value, list)}
        renamed = {"aspect_ratio": "aspect", "negative_prompt": "negativeprompt", "cfg_scale": "cfg"}
        named = {renamed.get(name, name): value for name, value in values.items()}
        if named.get("seed") == 0:  # a random one there
            del named["seed"]
        return named
    return None


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        before = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(before, dict):
            merged[name] = _merge(cast("dict[str, Any]", before), cast("dict[str, Any]", value))
        else:
            merged[name] = value
    return merged


def _make_unknown_error() -> InvalidRequest:
    return InvalidRequest(
        "This is no recipe.",
        hint="Import a file of this studio, a ComfyUI graph (API format) or a DreamLayer template.",
    )
