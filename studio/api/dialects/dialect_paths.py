"""Which paths belong to which API of another program, and the setting that offers it."""

from __future__ import annotations

import re
from enum import StrEnum

from studio.core.settings import Settings


class Dialect(StrEnum):
    """An API that other programs speak. The value is the name of its setting."""

    AUTOMATIC1111 = "api_automatic1111"
    OPENAI = "api_openai"
    MCP = "api_mcp"
    COMFYUI = "api_comfyui"
    ALIASES = "api_aliases"

    def is_enabled(self, settings: Settings) -> bool:
        """Whether the settings offer it."""
        return bool(getattr(settings, self.value))


_COMFYUI_PATH = (
    r"(?:prompt|queue|history|view|interrupt|free|system_stats|embeddings|extensions|features|models|ws|upload"
    r"|object_info|view_metadata)(?:/.*)?"
)
_PATHS = (
    (Dialect.AUTOMATIC1111, re.compile(r"/(?:sdapi|internal|controlnet)/.*")),
    (Dialect.OPENAI, re.compile(r"/v1(?:/.*)?")),
    (Dialect.MCP, re.compile(r"/mcp/?")),
    (
        Dialect.ALIASES,
        re.compile(
            r"/(?:generate(?:/async)?|jobs/[^/]+(?:/result)?|analyze-context|derivatives"
            r"|api/(?:generate|upload-controlnet-image))/?"
        ),
    ),
    (Dialect.COMFYUI, re.compile(rf"/(?:api/)?{_COMFYUI_PATH}")),
)


def find_dialect(path: str) -> Dialect | None:
    """The API that `path`, without the prefix of a proxy, belongs to; None for the studio's own page and API."""
    return next((dialect for dialect, pattern in _PATHS if pattern.fullmatch(path)), None)
