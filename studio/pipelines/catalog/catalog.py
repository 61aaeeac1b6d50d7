"""The catalogue of models/: files recognised by their contents.

Looking is cheap: of a file only the header is read, and only when it is new or changed. Nothing found there can do
harm: a broken, hostile or unknown file is an entry that says what is wrong with it.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from studio.core.errors import InvalidRequest, ModelBroken, UnknownModel
from studio.core.model import Model
from studio.core.ports import PipelineSpec
from studio.core.weights import SafetensorsHeader, WeightFile, WeightKind, is_same_name
from studio.pipelines.catalog import folder_walk
from studio.pipelines.catalog.file_headers import CONVERT, DOWNLOAD_AGAIN, detect_foreign_type, read_header
from studio.pipelines.catalog.file_stamps import make_stamp
from studio.pipelines.catalog.hashes import HashCache
from studio.pipelines.catalog.listing import Entry, Listing, Stamp, stamp_surroundings
from studio.pipelines.catalog.model_folders import Folder, inspect_folder
from studio.pipelines.catalog.scan_cache import ScanCache
from studio.pipelines.catalog.weight_kinds import (
    IMAGE_NETWORKS,
    Guess,
    find_quantisation_problem,
    guess_part,
    guess_special,
)
from studio.pipelines.control import control_files, control_tasks
from studio.prompting.dialects import find_look

# What a shape, a type or a value raises that no file of its kind has, wherever it is asked for.
_ODD_CONTENTS = (ModelBroken, OSError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError)

_log = logging.getLogger(__name__)


class Catalog:
    """The files below `models_dir`. The first question looks at the folder; `refresh` looks again. Safe from any
    thread.

    `cache` is a folder for the hashes and for what was found, which the next start goes by.
    """

    def __init__(self, models_dir: Path, specs: Sequence[PipelineSpec], cache: Path) -> None:
        self._root = models_dir
        self._specs = {spec.family: spec for spec in specs}
        self._hashes = HashCache(cache / "hashes.db")
        self._cache = ScanCache(cache / "scan.json", specs)
        self._lock = threading.Lock()
        self._current: Listing | None = None

    def weights(self) -> tuple[WeightFile, ...]:
        """Every weight file and folder, usable or not, by kind and name. `header` is left out: read_header gives it."""
        return tuple(entry.weight for entry in self._get_listing().entries.values())

    def models(self) -> tuple[Model, ...]:
        """Every checkpoint as a model whose id is the file's name; one that cannot be used carries its `problem`."""
        return tuple(entry.model for entry in self._get_listing().entries.values() if entry.model is not None)

    def refresh(self) -> None:
        """Look at the folder again. Readers see the old listing until the new one is whole."""
        with self._lock:
            self._current = self._scan(self._current)

    def checkpoint(self, model_id: str) -> WeightFile:
        """Raises UnknownModel when there is no such checkpoint; the hint names the nearest."""
        self._refresh_changed(self._get_listing().entries.get((WeightKind.CHECKPOINT, model_id)))
        entry = self._get_listing().entries.get((WeightKind.CHECKPOINT, model_id))
        if entry is None:
            names = self._list_names(WeightKind.CHECKPOINT)
            raise UnknownModel(
                f"Model {model_id!r} not found.", hint=_suggest_names(model_id, names) or "Pick one from the list."
            )
        return entry.weight

    def find(self, kind: WeightKind, name: str) -> WeightFile:
        """The usable file of this kind. Upper and lower case and a missing folder part are forgiven when only one file
        fits.

        Raises:
            InvalidRequest: none of that name, or a broken one; the hint names the nearest or says what is wrong.
        """
        self._refresh_changed(self._find_entry(kind, name))
        entry = self._find_entry(kind, name)
        if entry is None:
            names = self._list_names(kind)
            hint = _suggest_names(name, names) or (
                f"Put it below {self._root.name}/ and refresh." if not names else "Pick one from the list."
            )
            raise InvalidRequest(f"There is no {kind} {name!r}.", hint=hint, details={"kind": kind.value, "name": name})
        if entry.weight.problem:
            raise InvalidRequest(
                f"The {kind} {name} cannot be used: {entry.weight.problem}", hint=f"Pick another {kind}."
            )
        return entry.weight

    def spec(self, weight: WeightFile) -> PipelineSpec:
        """The family of a checkpoint.

        Raises:
            ModelBroken: no family claims it; says why.
        """
        if weight.family not in self._specs:
            raise ModelBroken(f"{weight.name} cannot be used: {weight.problem}", hint="Pick another model.")
        return self._specs[weight.family]

    def sha256(self, name: str, kind: WeightKind | None = None) -> str:
        """The hash of the file of that name, from the cache when the file did not change. Of several kinds checkpoints
        come first.

        Raises:
            UnknownModel: no file of that name.
            ModelBroken: it cannot be read.
        """
        entries = self._get_listing().entries
        for wanted in [kind] if kind else list(WeightKind):
            if (wanted, name) in entries:
                digest = self._hashes.sha256(entries[wanted, name].weight.path)
                self._store_hash(wanted, name, digest)
                return digest
        raise UnknownModel(f"No model file is named {name!r}.", hint="Refresh the list.")

    def find_checkpoint_by_hash(self, beginning: str) -> str:
        """The name of the checkpoint whose hash, computed before, begins so; "" where there is none, or several."""
        found = [
            weight.name
            for weight in self.weights()
            if weight.kind is WeightKind.CHECKPOINT and weight.sha256 and weight.sha256.startswith(beginning)
        ]
        return found[0] if beginning and len(found) == 1 else ""

    def _find_entry(self, kind: WeightKind, name: str) -> Entry | None:
        return self._get_listing().entries.get((kind, name)) or self._find_by_loose_name(kind, name)

    def _refresh_changed(self, entry: Entry | None) -> None:
        """Look at the folder again when what is known of this file is of an older one."""
        if entry is None or entry.stamp is None:
            return
        try:
            changed = make_stamp(entry.weight.path) != entry.stamp
        except OSError:  # it is gone
            changed = True
        if changed:
            self.refresh()

    def _get_listing(self) -> Listing:
        current = self._current
        if current is None:
            with self._lock:
                if self._current is None:
                    self._current = self._scan(None)
                current = self._current
        return current

    def _store_hash(self, kind: WeightKind, name: str, digest: str) -> None:
        with self._lock:
            listing = self._current
            if listing is None or (kind, name) not in listing.entries:
                return
            entry = listing.entries[kind, name]
            fresh = dataclasses.replace(entry, weight=dataclasses.replace(entry.weight, sha256=digest))
            self._current = dataclasses.replace(listing, entries={**listing.entries, (kind, name): fresh})

    def _scan(self, before: Listing | None) -> Listing:
        old = before or self._cache.load()
        surroundings = stamp_surroundings(self._root)
        unmoved = old is not None and old.surroundings == surroundings
        hashes = self._hashes.load_all()
        seen: dict[Stamp, Entry] = {}
        for found in folder_walk.walk_models(self._root):
            try:
                key = make_stamp(found.path)
            except OSError:  # it went away while we looked
                continue
            entry = old.seen.get(key) if old is not None else None
            if entry is None or (not unmoved and not found.is_folder and entry.depends_on_surroundings):
                entry = dataclasses.replace(self._classify_entry(found), stamp=key)
            seen[key] = entry.with_hash(hashes)
        if old is not None and unmoved and list(seen) == list(old.seen):
            return Listing({name: entry.with_hash(hashes) for name, entry in old.entries.items()}, seen, surroundings)
        listing = Listing(self._attach_control_tasks(_index_by_name(self._root, seen.values())), seen, surroundings)
        self._cache.save(listing)
        return listing

    def _classify_entry(self, found: folder_walk.ModelEntry) -> Entry:
        try:
            weight = (
                self._classify_folder(found) if found.is_folder else _flag_missing_encoder(self._classify_file(found))
            )
            model = self._build_model(weight)
        except _ODD_CONTENTS as error:
            _log.warning("%s cannot be used: %r", found.name, error)
            weight = _make_broken_weight(found)
            model = self._build_model(weight)
        return Entry(dataclasses.replace(weight, header=None), model)

    def _classify_file(self, found: folder_walk.ModelEntry) -> WeightFile:
        header, size = None, 0
        try:
            size = found.path.stat().st_size
            if found.problem:
                guess = Guess(found.expected, problem=found.problem)
            elif found.path.suffix.lower() in (".safetensors", ".gguf"):
                header = read_header(found.path)
                guess = (
                    guess_special(header, self._list_specs())
                    or self._guess_checkpoint(header)
                    or guess_part(header, self._list_specs())
                )
                if guess.kind is WeightKind.UNKNOWN and found.expected in IMAGE_NETWORKS:
                    guess = Guess(found.expected)  # one of many architectures: known when the loader opens it
            else:
                guess = _guess_pickle(found)
        except ModelBroken as error:
            guess = Guess(found.expected, problem=f"{error.message} {error.hint}")
        except OSError:
            guess = Guess(found.expected, problem="It cannot be read.")
        return WeightFile(
            name=found.name,
            kind=guess.kind,
            path=found.path,
            bytes=size,
            family=guess.family,
            problem=guess.problem,
            header=header,
        )

    def _guess_checkpoint(self, header: SafetensorsHeader) -> Guess | None:
        spec = next((spec for spec in self._specs.values() if spec.detect(header)), None)
        if spec is None:
            return None
        return Guess(WeightKind.CHECKPOINT, spec.family, find_quantisation_problem(header, is_unet=spec.clip))

    def _classify_folder(self, found: folder_walk.ModelEntry) -> WeightFile:
        folder = inspect_folder(found.path)
        guess = self._guess_component(folder, found.path) if found.is_component else self._guess_pipeline(folder)
        return WeightFile(
            name=found.name,
            kind=guess.kind,
            path=found.path,
            bytes=folder.bytes,
            family=guess.family,
            problem=guess.problem,
            header=folder.main,
        )

    def _guess_pipeline(self, folder: Folder) -> Guess:
        claims = [spec for spec in self._specs.values() if folder.class_name in spec.pipeline_classes]
        by_header = [spec for spec in claims if folder.main is not None and spec.detect(folder.main)]
        family = (by_header or claims)[0].family if claims else ""
        problem = folder.problem or ("" if claims else f"Its kind, {folder.class_name}, is not supported.")
        return Guess(WeightKind.CHECKPOINT, family, problem)

    def _guess_component(self, folder: Folder, path: Path) -> Guess:
        name = folder.class_name
        control_file = control_files.guess_folder(path, self._list_specs())
        if control_file is not None:
            kind, family, problem = control_file
            return Guess(kind, family, folder.problem or problem)
        kind = WeightKind.VAE if name.startswith("Autoencoder") else WeightKind.UNKNOWN
        unknown = (
            f"It is one component ({name or 'unnamed'}), which cannot be used by itself."
            if kind is WeightKind.UNKNOWN
            else ""
        )
        return Guess(kind, problem=folder.problem or unknown)

    def _build_model(self, weight: WeightFile) -> Model | None:
        if weight.kind is not WeightKind.CHECKPOINT:
            return None
        if weight.problem:
            return Model(id=weight.name, title=weight.name, family=weight.family, problem=weight.problem)
        metadata = weight.header.metadata if weight.header is not None else {}
        return dataclasses.replace(self._specs[weight.family].describe(weight), look=find_look(weight.name, metadata))

    def _attach_control_tasks(self, table: dict[tuple[WeightKind, str], Entry]) -> dict[tuple[WeightKind, str], Entry]:
        """The entries with each checkpoint's model offering what the ControlNets and adapters among them give it."""
        weights = [entry.weight for entry in table.values()]
        done = dict(table)
        for key, entry in table.items():
            if entry.model is not None and not entry.model.problem:
                spec = self._specs[entry.weight.family]
                files = control_tasks.find_control_files(entry.weight, spec, weights)
                model = control_tasks.add_control_tasks(entry.model, files, spec.control)
                done[key] = dataclasses.replace(entry, model=model)
        return done

    def _list_specs(self) -> tuple[PipelineSpec, ...]:
        return tuple(self._specs.values())

    def _list_names(self, kind: WeightKind) -> list[str]:
        return [name for known, name in self._get_listing().entries if known is kind]

    def _find_by_loose_name(self, kind: WeightKind, name: str) -> Entry | None:
        fits = [
            entry
            for (known, full), entry in self._get_listing().entries.items()
            if known is kind and is_same_name(full, name)
        ]
        return fits[0] if len(fits) == 1 else None


def _make_broken_weight(found: folder_walk.ModelEntry) -> WeightFile:
    """What is known of a file or folder that is not like any of its kind."""
    kind = WeightKind.CHECKPOINT if found.is_folder and not found.is_component else found.expected
    problem = f"Its settings or tensors are not those of its kind. {DOWNLOAD_AGAIN}"
    return WeightFile(name=found.name, kind=kind, path=found.path, bytes=0, problem=problem)


def _guess_pickle(found: folder_walk.ModelEntry) -> Guess:
    """Pickles are only named here. Upscalers and restorers are opened later, by a reader that runs no code from
    them."""
    if found.expected in IMAGE_NETWORKS and found.path.suffix.lower() in (".pth", ".pt"):
        return Guess(found.expected)
    with found.path.open("rb") as file:
        what = detect_foreign_type(file.read(512)) or "may be a Python pickle, which can run code, and was not opened"
    return Guess(found.expected, problem=f"{found.path.name} {what}. {CONVERT}")


def _index_by_name(root: Path, entries: Iterable[Entry]) -> dict[tuple[WeightKind, str], Entry]:
    """Entries by kind and name. Of two files that would have the same name, the second gets its whole path for a
    name."""
    table: dict[tuple[WeightKind, str], Entry] = {}
    for entry in entries:
        kind, name = entry.weight.kind, entry.weight.name
        if (kind, name) in table:
            name = entry.weight.path.relative_to(root).as_posix()
            model = dataclasses.replace(entry.model, id=name, title=name) if entry.model else None
            entry = dataclasses.replace(entry, weight=dataclasses.replace(entry.weight, name=name), model=model)
        table[kind, name] = entry
    order = list(WeightKind)
    return dict(sorted(table.items(), key=lambda item: (order.index(item[0][0]), item[0][1].casefold())))


def _flag_missing_encoder(weight: WeightFile) -> WeightFile:
    """An IP-Adapter with the problem that it has while its image encoder is missing; anything else as it is."""
    if weight.kind is not WeightKind.IP_ADAPTER or weight.problem:
        return weight
    if control_files.find_image_encoder(weight.path, control_files.read_image_width(weight)) is not None:
        return weight
    return dataclasses.replace(weight, problem=control_files.NO_ENCODER)


def _suggest_names(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return "Did you mean " + " or ".join(close) + "?" if close else ""
