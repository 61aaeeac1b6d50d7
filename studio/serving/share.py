"""The public link: Gradio's tunnel in front of our own server and its guard."""

from __future__ import annotations

import secrets
import sys
from urllib.parse import urlsplit

from studio.core.errors import NotConfigured, StudioError, Unreachable
from studio.core.settings import Settings
from studio.serving.hosts import Hosts
from studio.serving.users import require_users


def open_link(settings: Settings, users: object | None, hosts: Hosts, port: int) -> str:
    """Open a tunnel from a public address to `port` of this machine, let the guard know its name, and give the address.

    It takes some seconds; the first time it fetches Gradio's tunnel program. It ends with the process.

    Raises:
        NotConfigured: there are no users. Unreachable: no network, or the tunnel did not open.
    """
    require_users(settings.replace(share=True), users)
    host = urlsplit(_tunnel(port)).hostname
    if not host:
        raise Unreachable("The share link could not be opened.", hint=_HINT)
    hosts.add_share(host)
    return f"https://{host}"


def close_links() -> None:
    """End the tunnels, which are processes of their own; for an end of ours that is not the usual one."""
    tunneling = sys.modules.get("gradio.tunneling")
    for tunnel in getattr(tunneling, "CURRENT_TUNNELS", ()):
        tunnel.kill()


_HINT = "Check the network and start again, or leave out --share."


def _tunnel(port: int) -> str:
    import httpx
    from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError
    from gradio.networking import setup_tunnel

    try:
        return setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except ShareCertificateWriteError as error:
        raise NotConfigured(
            "The share link could not be opened: this folder may not be written.", hint=_HINT
        ) from error
    except ChecksumMismatchError as error:
        raise StudioError(
            "The tunnel program is not the one that Gradio published.", hint="Delete it and start again."
        ) from error
    except (RuntimeError, ValueError, OSError, httpx.HTTPError) as error:
        raise Unreachable("The share link could not be opened.", hint=_HINT) from error
