"""Reading Content Credentials of anybody's file in a process that can be killed, and what they mean in plain words."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from studio.core.errors import BadImage
from studio.core.image_gate import detect_format
from studio.core.image_process import run_image_program, take_turn
from studio.core.provenance import CredentialReport, CredentialState, CredentialStep, has_credentials
from studio.core.source_type import clean_source_type
from studio.trust import credentials_child
from studio.trust.identity import KnownSigners

SECONDS = 20.0  # that a file has
MAX_STEPS = 50  # signed versions of an image that are listed
_MEMORY = 1024 * 1024 * 1024  # bytes that a file may take, besides twice its own size
_MAX_TEXT = 200  # characters of any one text that is shown
_MAX_PROBLEMS = 20
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}
_CHANGED = ("dataHash.mismatch", "bmffHash.mismatch", "boxesHash.mismatch", "boxHash.mismatch", "hashedURI.mismatch")
_EXPIRED = ("signingCredential.expired", "claimSignature.outsideValidity")
_UNTRUSTED = "signingCredential.untrusted"
_FORBIDDEN_USES = ("notAllowed", "constrained")

_log = logging.getLogger(__name__)
_Object = Mapping[str, Any]


def read_credentials(data: bytes, known: KnownSigners, *, patient: bool = False) -> CredentialReport:
    """What the credentials in `data` say. Raises QueueFull as `take_turn`."""
    kind = detect_format(data)
    if kind not in _TYPES or not has_credentials(data, kind):
        return CredentialReport()
    try:
        found, _ = run_reader(data, kind, known, patient=patient)
    except BadImage as error:
        return CredentialReport(state=CredentialState.UNREADABLE, problems=(error.message,))
    return describe_credentials(found, known)


def run_reader(
    data: bytes, kind: str, known: KnownSigners, *, archive: bool = False, patient: bool = False
) -> tuple[dict[str, Any], bytes]:
    """(the manifest store, the archive of it when that is asked for) of the file, read in a process of its own.

    Raises:
        BadImage: it cannot be read, or took too long. QueueFull: there was no turn.
    """
    order = {
        "mime": _TYPES[kind],
        "anchors": known.anchors,
        "archive": archive,
        "memory": _MEMORY + 2 * len(data),
        "seconds": int(SECONDS) + 1,
    }
    try:
        with take_turn(patient=patient):
            done = run_image_program(Path(credentials_child.__file__), order, data, SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BadImage("Reading the Content Credentials took too long.", hint="They are ignored.") from error
    except OSError as error:
        raise BadImage("The Content Credentials could not be read just now.", hint="Try again.") from error
    if done.returncode != 0:
        _log.info("credentials are not read: %s", done.stderr.decode(errors="replace").strip()[-300:])
        raise BadImage("The Content Credentials are damaged.", hint="They are ignored.")
    answer = json.loads(done.stdout)
    return answer["found"], base64.b64decode(answer["archive"])


def describe_credentials(found: _Object, known: KnownSigners) -> CredentialReport:
    """The report of a manifest store as c2pa wrote it."""
    if found.get("remote"):
        return CredentialReport(state=CredentialState.ELSEWHERE, remote=str(found["remote"])[:_MAX_TEXT])
    manifests = _get_object(found, "manifests")
    active = _get_object(manifests, str(found.get("active_manifest")))
    if not active:
        return CredentialReport()
    results = _get_object(_get_object(found, "validation_results"), "activeManifest")
    problems = [str(_get(one, "code", "")) for one in _get_list(results, "failure")]
    return CredentialReport(
        state=_find_state(str(found.get("validation_state", "")), problems, active, known),
        steps=tuple(_list_steps(manifests, str(found.get("active_manifest")))),
        problems=tuple(dict.fromkeys(problems))[:_MAX_PROBLEMS],
        training=_find_training(active),
    )


def _find_state(validation: str, problems: list[str], active: _Object, known: KnownSigners) -> CredentialState:
    if validation == "Trusted":
        return CredentialState.OWN if _is_own(active, known) else CredentialState.TRUSTED
    if validation == "Valid":
        return CredentialState.UNTRUSTED
    if any(code.endswith(_CHANGED) for code in problems):
        return CredentialState.CHANGED
    if any(code in _EXPIRED for code in problems):
        return CredentialState.EXPIRED
    return CredentialState.INVALID


def _is_own(active: _Object, known: KnownSigners) -> bool:
    """Whether the signer, who is trusted, is this installation."""
    return str(_get(_get_object(active, "signature_info"), "cert_serial_number", "")) in known.serials


def _list_steps(manifests: _Object, label: str) -> Iterator[CredentialStep]:
    """The manifest and those of its parents, each once."""
    seen: set[str] = set()
    while label and label not in seen and len(seen) < MAX_STEPS:
        seen.add(label)
        manifest = _get_object(manifests, label)
        if manifest:
            yield _describe_step(manifest)
        parents = [one for one in _get_list(manifest, "ingredients") if _get(one, "relationship", "") == "parentOf"]
        label = next((str(_get(one, "active_manifest", "")) for one in parents), "")


def _describe_step(manifest: _Object) -> CredentialStep:
    signature, programs = _get_object(manifest, "signature_info"), _get_list(manifest, "claim_generator_info")
    actions = [
        action
        for assertion in _get_list(manifest, "assertions")
        if str(_get(assertion, "label", "")).startswith("c2pa.actions")
        for action in _get_list(_get_object(assertion, "data"), "actions")
    ]
    types = [clean_source_type(str(_get(one, "digitalSourceType", ""))) for one in actions]
    program = programs[0] if programs else manifest.get("claim_generator", "")
    name = f"{_get(program, 'name', '')} {_get(program, 'version', '')}" if isinstance(program, Mapping) else program
    return CredentialStep(
        signer=_shorten(_get(signature, "issuer", "") or _get(signature, "common_name", "")),
        program=_shorten(name),
        actions=tuple(_shorten(_get(one, "action", "")) for one in actions[:MAX_STEPS]),
        when=_shorten(_get(signature, "time", "") or next((_get(one, "when", "") for one in actions), "")),
        source_type=next(filter(None, reversed(types)), ""),
    )


def _find_training(active: _Object) -> str:
    for assertion in _get_list(active, "assertions"):
        if str(_get(assertion, "label", "")) in ("cawg.training-mining", "c2pa.training-mining"):
            entries = _get_object(_get_object(assertion, "data"), "entries")
            uses = [str(_get(entry, "use", "")) for entry in entries.values()]
            return "forbid" if any(use in _FORBIDDEN_USES for use in uses) else "allow" if uses else ""
    return ""


def _get(value: Any, name: str, default: Any) -> Any:
    """A field of what should be an object; files of anybody have what they like."""
    return cast("_Object", value).get(name, default) if isinstance(value, Mapping) else default


def _get_object(value: Any, name: str) -> _Object:
    found = _get(value, name, None)
    return cast("_Object", found) if isinstance(found, Mapping) else {}


def _get_list(value: Any, name: str) -> list[Any]:
    found = _get(value, name, None)
    return cast("list[Any]", found) if isinstance(found, list) else []


def _shorten(text: Any) -> str:
    plain = "".join(character if character.isprintable() else " " for character in str(text))
    return plain.strip()[:_MAX_TEXT]
