"""Where an image comes from: what its credentials, its other marks and the user's own library say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from studio.core.image_gate import ImageLimits, open_image
from studio.core.provenance import CredentialReport, CredentialState
from studio.core.source_type import EDITED, ENHANCED, GENERATED, MADE_BY_MODELS
from studio.core.user import User
from studio.engine.metadata.image_info import ParsedImageInfo, read_image_info
from studio.engine.storage.inputs import read_source_metadata
from studio.engine.studio import Studio

MAX_ALIKE = 5  # images of the library that are named
NO_MARK = "No mark of origin was found. That does not mean that no model made the image."
_CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
_SOURCES = MappingProxyType(
    {
        GENERATED: "a model made the image",
        EDITED: "a model drew into the image",
        ENHANCED: "a program enhanced the image",
        _CAMERA: "a camera took the image",
    }
)
_STATES = MappingProxyType(
    {
        CredentialState.OWN: "Signed by this installation, unchanged since.",
        CredentialState.TRUSTED: "Signed by {signer}, whom this studio trusts, unchanged since.",
        CredentialState.UNTRUSTED: "Signed by {signer}, unchanged since. Nobody whom this studio trusts vouches for the"
        " signer.",
        CredentialState.CHANGED: "Signed by {signer}, but the file was changed afterwards.",
        CredentialState.EXPIRED: "Signed by {signer}, whose certificate has ended. When it was signed cannot be"
        " proved.",
        CredentialState.INVALID: "Signed by {signer}, but the credentials break the rules and prove nothing.",
        CredentialState.ELSEWHERE: "The credentials lie at another address, which is not asked.",
        CredentialState.UNREADABLE: "The file has credentials that cannot be read.",
    }
)


class Layer(StrEnum):
    """What a finding rests on, the strongest first."""

    CREDENTIALS = "credentials"
    SOURCE_TYPE = "source_type"
    SETTINGS = "settings"
    HIDDEN_TEXT = "hidden_text"
    LIBRARY = "library"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found. `assets` are ids of the user's own images."""

    layer: Layer
    text: str
    assets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OriginReport:
    """All that was found, the strongest first; `summary` is one or two sentences for people. `info` is the file's
    metadata, `hidden` the text in its pixels."""

    summary: str
    credentials: CredentialReport
    info: ParsedImageInfo
    hidden: str | None = None
    findings: tuple[Finding, ...] = ()


def check_origin(studio: Studio, data: bytes, user: User) -> OriginReport:
    """Look for everything that tells where the image file `data` comes from. No address is asked.

    Raises:
        BadImage: the gate refuses the file. QueueFull: so many files are being read that this one had no turn.
    """
    settings = studio.settings.current
    image = open_image(data, limits=ImageLimits.of(settings))
    signed = studio.engine.read_credentials(data)
    info, stated = read_image_info(data, settings), read_source_metadata(data)[0].source_type
    hidden = studio.read_hidden(image)
    library = studio.engine.asset_library
    marked = tuple(library.find_marked(hidden, user.name, MAX_ALIKE)) if hidden else ()
    alike = tuple(one.id for one in library.find_alike(image, user.name, MAX_ALIKE))
    findings = tuple(_list_findings(signed, info, stated, (hidden, marked), alike))
    return OriginReport(
        summary=_summarize(signed, findings), credentials=signed, info=info, hidden=hidden, findings=findings
    )


def describe_credentials(report: CredentialReport) -> str:
    """One or two sentences about an image's credentials, "" where it has none."""
    if report.state is CredentialState.NONE:
        return ""
    signer = report.steps[0].signer if report.steps else ""
    text = _STATES[report.state].format(signer=f"“{signer}”" if signer else "somebody without a name")
    said = _SOURCES.get(report.source_type, "")
    if not said or not report.state.is_valid:
        return text
    telling = next(step for step in report.steps if step.source_type)
    whose = "The signer" if telling is report.steps[0] else f"The signer of an earlier version, “{telling.signer}”,"
    return f"{text} {whose} says that {said}."


def _list_findings(
    signed: CredentialReport,
    info: ParsedImageInfo,
    stated: str,
    mark: tuple[str | None, tuple[str, ...]],
    alike: tuple[str, ...],
) -> Iterator[Finding]:
    """`mark` is the hidden text and the user's assets that it stands for."""
    hidden, marked = mark
    if text := describe_credentials(signed):
        yield Finding(layer=Layer.CREDENTIALS, text=text)
    if stated:
        said = _SOURCES.get(stated, f"its source is “{stated.rpartition('/')[2]}”")
        contradicts = signed.state.is_valid and signed.source_type in MADE_BY_MODELS and stated not in MADE_BY_MODELS
        yield Finding(
            layer=Layer.SOURCE_TYPE,
            text=f"The file states that {said}; its signer says otherwise."
            if contradicts
            else f"The file states that {said}. Anybody can write or remove this.",
        )
    if info.program:
        text = f"The file holds settings written by {info.program}. Anybody can write or remove these."
        yield Finding(layer=Layer.SETTINGS, text=text)
    if marked:
        text = "A hidden mark in the pixels says that it was made here, of an image in your library."
        yield Finding(layer=Layer.HIDDEN_TEXT, text=text, assets=marked)
    elif hidden:
        yield Finding(layer=Layer.HIDDEN_TEXT, text=f"A hidden text is in the pixels: “{hidden}”.")
    if alike:
        yield Finding(layer=Layer.LIBRARY, text="Your library has images that look alike.", assets=alike)


def _summarize(signed: CredentialReport, findings: tuple[Finding, ...]) -> str:
    """The strongest finding, and beside credentials that prove nothing the next one."""
    telling = [one for one in findings if one.layer is not Layer.LIBRARY]
    if not telling:
        return f"{findings[0].text} {NO_MARK}" if findings else NO_MARK
    shown = telling[:1] if signed.state is CredentialState.NONE or signed.state.is_valid else telling[:2]
    return " ".join(one.text for one in shown)
