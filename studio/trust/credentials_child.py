"""Reading the Content Credentials of one file: run as a program of its own (see `main`) for files of anybody, so that
it may be killed. Imports nothing of the studio.

No address that a file names is ever asked: neither for credentials that lie elsewhere nor whether a certificate was
withdrawn.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import c2pa

SETTINGS: dict[str, Any] = {
    "core": {"allowed_network_hosts": []},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
    "builder": {
        "thumbnail": {"enabled": False},
        "actions": {f"auto_{name}_action": {"enabled": False} for name in ("created", "opened", "placed")},
    },
}
_NOTHING_ERROR, _REMOTE_ERROR = "ManifestNotFound", "Remote:"  # begin the errors of files that hold or only name some
_CERTIFICATE_USES = (  # extended uses that C2PA allows: e-mail, documents, time stamps, OCSP, its own two
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.36",
    "1.3.6.1.5.5.7.3.8",
    "1.3.6.1.5.5.7.3.9",
    "1.3.6.1.4.1.311.76.59.1.9",
    "1.3.6.1.4.1.62558.2.1",
)


def make_context(anchors: str) -> c2pa.Context:
    """The settings of a reader that trusts whoever the certificates `anchors` (PEM) vouch for."""
    import c2pa

    trust = {"trust_config": "\n".join(_CERTIFICATE_USES), **({"user_anchors": anchors} if anchors else {})}
    return c2pa.Context.from_dict({**SETTINGS, "trust": trust})


def read_manifests(data: bytes, mime: str, context: c2pa.Context) -> dict[str, Any]:
    """The manifest store of a file as c2pa reads it; {"remote": address} where the file only names one. Raises
    C2paError for what cannot be read."""
    import c2pa

    try:
        with c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
            return json.loads(reader.json())
    except c2pa.C2paError as error:
        if str(error).startswith(_NOTHING_ERROR):
            return {}
        if str(error).startswith(_REMOTE_ERROR):
            return {"remote": str(error).partition(" url ")[2]}
        raise


def archive_credentials(data: bytes, mime: str, context: c2pa.Context) -> bytes:
    """The credentials of a file as an archive that another file's can name as an ingredient. Raises C2paError."""
    import c2pa

    out = io.BytesIO()
    with c2pa.Builder({"assertions": []}, context=context) as builder:
        builder.add_ingredient({"label": "parent", "relationship": "parentOf"}, mime, io.BytesIO(data))
        builder.write_ingredient_archive("parent", out)
    return out.getvalue()


def main() -> int:
    """Read one JSON line with what is wanted and then the file from standard input; write one JSON object.

    0: read. Anything else: it cannot be read, or we were killed.
    """
    order = json.loads(sys.stdin.buffer.readline())
    _limit_resources(order["memory"], order["seconds"])
    data = sys.stdin.buffer.read()
    context = make_context(order["anchors"])
    found = read_manifests(data, order["mime"], context)
    archive = archive_credentials(data, order["mime"], context) if order["archive"] and found.get("manifests") else b""
    sys.stdout.write(json.dumps({"found": found, "archive": base64.b64encode(archive).decode()}))
    return 0


def _limit_resources(memory: int, seconds: int) -> None:
    """Let the system stop us at `memory` bytes or `seconds` of processor time, and write no core file."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
