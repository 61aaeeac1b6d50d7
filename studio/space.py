"""A Hugging Face Space: what the variables that it sets mean for the studio.

Nothing of this is asked of the user; whatever is set in the environment with STUDIO_… wins.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from studio.data_folder import HOME_VARIABLE, is_source_folder
from studio.serving.openid import OpenIdSettings

PORT = 7860
MCP_VERSION = 2
STORAGE = Path("/data")  # where a Space has a disk or a bucket that outlives it
# The container is reached through the platform's own proxy alone, from an address of a private network.
PROXIES = "127.0.0.0/8, ::1/128, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7"
FRAME_ANCESTORS = "https://huggingface.co, https://*.huggingface.co"


def is_space(environment: Mapping[str, str]) -> bool:
    """Whether the program runs in a Space."""
    return bool(environment.get("SPACE_ID"))


def complete_environment(environment: Mapping[str, str], storage: Path = STORAGE) -> dict[str, str]:
    """`environment`, in a Space with what a studio there needs: its address, the platform's pages around it, its proxy,
    guests, and a folder that can be written, `storage` where that is one."""
    if not is_space(environment):
        return dict(environment)
    found = {
        "STUDIO_HOST": "0.0.0.0",
        "STUDIO_PORT": str(PORT),
        "STUDIO_ALLOWED_HOSTS": environment.get("SPACE_HOST", ""),
        "STUDIO_TRUSTED_PROXIES": PROXIES,
        "STUDIO_FRAME_ANCESTORS": FRAME_ANCESTORS,
        "STUDIO_GUESTS": "1",
        "STUDIO_LOG_CONSOLE": "1",
        "STUDIO_SHARE": "0",
    }
    if not has_mcp():
        found["STUDIO_API_MCP"] = "0"
    folder = find_writable_folder(storage)
    if folder is not None:
        found[HOME_VARIABLE] = str(folder)
    return {**found, **environment}


def has_mcp() -> bool:
    """Whether the package for assistants is one that the studio can use; the platform brings an older one along."""
    try:
        return int(importlib.metadata.version("mcp").partition(".")[0]) >= MCP_VERSION
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


def find_writable_folder(storage: Path) -> Path | None:
    """`storage` where it is there and can be written, else None where the source folder can be, else a temporary one,
    which is lost when the Space sleeps."""
    if storage.is_dir() and os.access(storage, os.W_OK):
        return storage
    if is_source_folder() and os.access(Path(__file__).parent.parent, os.W_OK):
        return None
    return Path(tempfile.gettempdir()) / "easel"


def read_openid_settings(environment: Mapping[str, str]) -> OpenIdSettings | None:
    """The Hugging Face login of a Space that has `hf_oauth: true`; whoever created the Space is its administrator.

    Raises:
        NotConfigured: the provider's address is none.
    """
    if not is_space(environment) or not environment.get("OAUTH_CLIENT_ID"):
        return None
    creator = environment.get("SPACE_CREATOR_USER_ID", "")
    return OpenIdSettings(
        provider=environment.get("OPENID_PROVIDER_URL", "https://huggingface.co"),
        client_id=environment["OAUTH_CLIENT_ID"],
        client_secret=environment.get("OAUTH_CLIENT_SECRET", ""),
        title="Hugging Face",
        administrators=frozenset({creator} if creator else ()),
    )
