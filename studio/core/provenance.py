"""Content Credentials (C2PA): signed statements inside image files about how they were made, and what reading them
tells. The engine signs and reads through the protocol here; studio.trust does the work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from studio.core.result import Asset

MAX_CREDENTIALS_BYTES = 1024 * 1024  # of an image's past that is carried on; a file of ours has some 5 kB for each step
_PNG_CHUNK, _WEBP_CHUNK, _JPEG_BOX, _BMFF_UUID = (
    b"caBX",
    b"C2PA",
    b"jumb",
    bytes.fromhex("d8fec3d61b0e483c92975828877ec481"),
)
_REMOTE_NAMES = (b"dcterms:provenance", b"http://purl.org/dc/terms/")


class CredentialState(StrEnum):
    """What is to be said of an image's credentials."""

    NONE = "none"  # it has none
    OWN = "own"  # signed by this installation, unchanged since
    TRUSTED = "trusted"  # signed by somebody whom the administrator trusts, unchanged since
    UNTRUSTED = "untrusted"  # signed by somebody else, unchanged since
    CHANGED = "changed"  # the file is not the one that was signed
    EXPIRED = "expired"  # the signer's certificate has ended, and no time stamp says that it was signed before
    INVALID = "invalid"  # they break the rules in another way
    ELSEWHERE = "elsewhere"  # they are not in the file; the address that it gives is not asked
    UNREADABLE = "unreadable"  # they could not be read

    @property
    def is_valid(self) -> bool:
        """Whether the file is as it was signed, whoever did."""
        return self in (CredentialState.OWN, CredentialState.TRUSTED, CredentialState.UNTRUSTED)


@dataclass(frozen=True, kw_only=True)
class CredentialStep:
    """One signed version of an image: who signed it, the program that made it, and what was done ("c2pa.created").
    `when` is the time that the program states; `source_type` the IPTC digital source type."""

    signer: str = ""
    program: str = ""
    actions: tuple[str, ...] = ()
    when: str = ""
    source_type: str = ""


@dataclass(frozen=True, kw_only=True)
class CredentialReport:
    """What an image's credentials say. `steps` begins with the file itself and goes back in time; `problems` are codes
    of the C2PA specification. `training` is "allow", "forbid" or "" where nothing is said; `remote` is the address of
    credentials that lie elsewhere."""

    state: CredentialState = CredentialState.NONE
    steps: tuple[CredentialStep, ...] = ()
    problems: tuple[str, ...] = ()
    training: str = ""
    remote: str = ""

    @property
    def source_type(self) -> str:
        """The digital source type that the latest step with one states."""
        return next((step.source_type for step in self.steps if step.source_type), "")


@dataclass(frozen=True, kw_only=True)
class SigningOrder:
    """What is signed about a file. `asset` says how it was made; `full` allows the names of models, else only the mark
    that a machine made it.

    `derived` says that it is a version of another image, whose credentials are `parent` (an archive, b"" where it has
    none); `delivered` that a service or another program made that image of the asset's own request. `inputs` are the
    archives of other images that went into it. `training` is "allow", "forbid" or ""."""

    asset: Asset
    full: bool = True
    derived: bool = False
    delivered: bool = False
    parent: bytes = b""
    inputs: tuple[bytes, ...] = ()
    training: str = ""


class ContentCredentials(Protocol):
    """Signs files and reads what others signed. Thread-safe."""

    def check_signer(self) -> None:
        """Make or load the identity that signs.

        Raises:
            StudioError: files cannot be signed; the message says why.
        """
        ...

    def sign(self, data: bytes, kind: str, order: SigningOrder) -> bytes:
        """The file `data` of `kind` (png, jpeg, webp or avif) with signed credentials. Nothing else in it changes.

        Raises:
            StudioError: it cannot be signed; the message says why.
        """
        ...

    def read(self, data: bytes, *, patient: bool = False) -> CredentialReport:
        """What the credentials in a file of anybody say. Read in a process of its own; no address is asked.

        Raises:
            QueueFull: so many files are being read that this one had no turn; not for the `patient`.
        """
        ...

    def take(self, data: bytes, *, patient: bool = False) -> tuple[CredentialReport, bytes]:
        """As `read`, and the credentials in the form in which `SigningOrder` takes them, b"" where there are none.

        Raises:
            BadImage: they cannot be read, or are larger than MAX_CREDENTIALS_BYTES. QueueFull: as `read`.
        """
        ...

    def archive_own(self, data: bytes) -> bytes:
        """The credentials of a file that the studio itself wrote, in that form, read in this process; raises
        BadImage as `take`."""
        ...

    def get_root(self) -> bytes:
        """The certificate (PEM) by which others can recognize this installation's signatures.

        Raises:
            StudioError: there is none.
        """
        ...

    def replace_identity(self, chain: bytes = b"", key: bytes = b"") -> None:
        """Sign with another identity from now on: with one's own certificates, leaf first, and key (PEM), or with new
        ones made here.

        Raises:
            InvalidRequest: they do not fit together or cannot sign images. StorageFailed: they cannot be kept.
        """
        ...


def has_credentials(data: bytes, kind: str | None) -> bool:
    """Whether the file, of Pillow's format `kind`, may hold credentials or name some that lie elsewhere; a cheap look
    at its bytes. A file without is never opened for them."""
    if kind == "PNG":
        return _has_png_chunk(data, _PNG_CHUNK) or _names_remote(data)
    mark = {"JPEG": _JPEG_BOX, "WEBP": _WEBP_CHUNK, "AVIF": _BMFF_UUID}.get(kind or "")
    return mark is not None and (mark in data or _names_remote(data))


def _has_png_chunk(data: bytes, name: bytes) -> bool:
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] == name:
            return True
        place += int.from_bytes(data[place : place + 4], "big") + 12
    return False


def _names_remote(data: bytes) -> bool:
    return all(name in data for name in _REMOTE_NAMES)
