"""Signing image files with Content Credentials through c2pa-python, offline: no thumbnail, no time stamp, no address.

The library is imported by the first file that is signed or read, never by the page.
"""

from __future__ import annotations

import datetime
import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.core.errors import BadImage, InvalidRequest, NotConfigured, StudioError
from studio.core.image_gate import detect_format
from studio.core.provenance import MAX_CREDENTIALS_BYTES, CredentialReport, SigningOrder, has_credentials
from studio.trust import identity
from studio.trust.check import describe_credentials, read_credentials, run_reader
from studio.trust.identity import Identity
from studio.trust.provenance import PARENT_LABEL, build_definition

if TYPE_CHECKING:
    import c2pa

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}
_INPUT_LABEL = "input"  # each ingredient needs one of its own: those of an archive are all the same
_ARCHIVE_TYPE = "application/c2pa"
_MODULE_MISSING = "Signing needs the package c2pa-python, which is not installed for this system."


class Credentials:
    """The ContentCredentials of the installation whose identity lies in a folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._signer: tuple[int, Identity, c2pa.Context] | None = None

    def check_signer(self) -> None:
        """See ContentCredentials."""
        self._open_signer()

    def sign(self, data: bytes, kind: str, order: SigningOrder) -> bytes:
        """See ContentCredentials."""
        context = self._open_signer()
        out = io.BytesIO()
        c2pa = _import_library()
        try:
            with c2pa.Builder(build_definition(order), context=context) as builder:
                if order.parent:
                    parent = {"label": PARENT_LABEL, "relationship": "parentOf"}
                    builder.add_ingredient(parent, _ARCHIVE_TYPE, io.BytesIO(order.parent))
                for number, archive in enumerate(order.inputs, 1):
                    used = {"label": f"{_INPUT_LABEL}-{number}", "relationship": "inputTo"}
                    builder.add_ingredient(used, _ARCHIVE_TYPE, io.BytesIO(archive))
                builder.sign(MIME_TYPES[kind], io.BytesIO(data), out)
        except c2pa.C2paError as error:
            raise StudioError(
                f"The image could not be signed: {error}.", hint="Look at the application log; it is saved unsigned."
            ) from error
        return out.getvalue()

    def read(self, data: bytes, *, patient: bool = False) -> CredentialReport:
        """See ContentCredentials."""
        return read_credentials(data, identity.list_signers(self._folder), patient=patient)

    def take(self, data: bytes, *, patient: bool = False) -> tuple[CredentialReport, bytes]:
        """See ContentCredentials."""
        kind = detect_format(data)
        if not has_credentials(data, kind):
            return CredentialReport(), b""
        known = identity.list_signers(self._folder)
        found, archive = run_reader(data, str(kind), known, archive=True, patient=patient)
        return describe_credentials(found, known), _check_size(archive)

    def archive_own(self, data: bytes) -> bytes:
        """See ContentCredentials."""
        kind = detect_format(data)
        if not has_credentials(data, kind):
            return b""
        c2pa = _import_library()
        from studio.trust.credentials_child import archive_credentials, make_context

        context = make_context(identity.list_signers(self._folder).anchors)
        try:
            return _check_size(archive_credentials(data, MIME_TYPES[str(kind).lower()], context))
        except c2pa.C2paError as error:
            raise BadImage(
                "The image's Content Credentials cannot be read.", hint="They are not carried on."
            ) from error

    def get_root(self) -> bytes:
        """See ContentCredentials."""
        return identity.load_identity(self._folder).root

    def replace_identity(self, chain: bytes = b"", key: bytes = b"") -> None:
        """See ContentCredentials. One's own certificates sign a small image first, which shows what C2PA refuses."""
        if chain or key:
            given = identity.parse_identity(chain, key)
            given.check_validity(datetime.datetime.now(datetime.UTC))
            _try_identity(given)
        identity.replace_identity(self._folder, chain, key)

    def _open_signer(self) -> c2pa.Context:
        """The context that signs, made once for each state of the identity's file.

        Raises:
            StudioError: there is no usable identity, or no library.
        """
        with self._lock:
            state = identity.get_state(self._folder)
            if self._signer is None or self._signer[0] != state:
                _import_library()
                loaded = identity.load_identity(self._folder)
                self._signer = identity.get_state(self._folder), loaded, _make_signing_context(loaded)
            _, loaded, context = self._signer
        loaded.check_validity(datetime.datetime.now(datetime.UTC))
        return context


def _check_size(archive: bytes) -> bytes:
    if len(archive) > MAX_CREDENTIALS_BYTES:
        raise BadImage(
            f"The image's Content Credentials are too large ({len(archive) / 1e6:.1f} MB).",
            hint="They are not carried on.",
        )
    return archive


def _import_library() -> Any:
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:  # as it fails where its own library is not there
        raise NotConfigured(_MODULE_MISSING, hint="Install it, or switch the setting “sign” off.") from error
    return c2pa


def _make_signing_context(loaded: Identity) -> c2pa.Context:
    c2pa = _import_library()
    from studio.trust.credentials_child import SETTINGS

    try:
        info = c2pa.C2paSignerInfo(
            alg=loaded.algorithm.encode(), sign_cert=loaded.chain, private_key=loaded.key, ta_url=None
        )
        program = {"name": "Easel", "version": __version__}
        settings = {**SETTINGS, "builder": {**SETTINGS["builder"], "claim_generator_info": program}}
        return c2pa.Context.from_dict(settings, signer=c2pa.Signer.from_info(info))
    except c2pa.C2paError as error:
        raise InvalidRequest(
            f"These certificates cannot sign images: {error}.",
            hint="The leaf needs the use “digital signature” and the extended use “e-mail protection”.",
        ) from error


def _try_identity(given: Identity) -> None:
    """Sign a small image and read it back; raises InvalidRequest when that shows a fault."""
    from PIL import Image

    c2pa = _import_library()
    from studio.trust.credentials_child import make_context

    plain, signed = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "PNG")
    made = {"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}
    definition = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}]}
    context = _make_signing_context(given)
    try:
        with c2pa.Builder(definition, context=context) as builder:
            builder.sign(MIME_TYPES["png"], io.BytesIO(plain.getvalue()), signed)
        with c2pa.Reader(MIME_TYPES["png"], signed, context=make_context(given.root.decode())) as reader:
            state = reader.get_validation_state()
    except c2pa.C2paError as error:
        raise InvalidRequest(
            f"These certificates cannot sign images: {error}.",
            hint="The leaf needs the use “digital signature” and the extended use “e-mail protection”.",
        ) from error
    if state not in ("Valid", "Trusted"):
        raise InvalidRequest(
            "What these certificates sign is not valid for readers of Content Credentials.",
            hint="The leaf needs an extended use that C2PA knows, such as “e-mail protection”.",
        )
