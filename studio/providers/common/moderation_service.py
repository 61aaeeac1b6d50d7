"""OpenAI's moderation service: a second look at texts and images, where the settings let them leave the computer."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import ProviderError
from studio.core.trust import MINORS, Stage, Verdict

if TYPE_CHECKING:
    from openai import OpenAI

MODEL = "omni-moderation-latest"
NAME = "OpenAI's moderation"
TIMEOUT = 10.0  # seconds
_SIDE = 512  # px, the longer side of an image that is sent
_MAX_CHARACTERS = 20_000
_LIMIT = 0.5  # the service flags a category itself; this is what a verdict names as its limit
_MINORS = "sexual/minors"


class ModerationService:
    """Asks with the key that is set at the moment of the call."""

    def __init__(self, get_key: Callable[[], str], get_address: Callable[[], str]) -> None:
        """`get_key` raises NotConfigured where no key is set; `get_address` gives the base address, with /v1."""
        self._get_key = get_key
        self._get_address = get_address

    def check(self, texts: Sequence[str], image: Image.Image | None, stage: Stage) -> Verdict | None:
        """What the service flags, its surest category; None for nothing.

        Raises:
            NotConfigured: there is no key. ProviderError: the service did not answer, or not with a verdict.
        """
        content: list[dict[str, Any]] = []
        if text := "\n".join(texts)[:_MAX_CHARACTERS]:
            content.append({"type": "text", "text": text})
        if image is not None:
            content.append({"type": "image_url", "image_url": {"url": _encode_image(image)}})
        return _read_verdict(self._ask(content), stage) if content else None

    def _ask(self, content: list[dict[str, Any]]) -> Any:
        import openai

        key = self._get_key()
        try:
            with openai.OpenAI(
                base_url=self._get_address(),
                api_key=key,
                max_retries=1,
                timeout=TIMEOUT,
                http_client=openai.DefaultHttpxClient(follow_redirects=False),  # the key stays with this server
            ) as client:
                return _send(client, content)
        except openai.OpenAIError as error:
            raise ProviderError(
                f"{NAME} did not answer ({type(error).__name__}).", hint="Check the key and the network."
            ) from None  # its request holds the key


def _send(client: OpenAI, content: list[Any]) -> dict[str, Any]:
    answer = client.moderations.with_raw_response.create(model=MODEL, input=content)
    try:
        [result] = answer.http_response.json()["results"]
        return {name: float(score) for name, score in result["category_scores"].items() if result["categories"][name]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderError(f"{NAME} gave no verdict.", hint="Try again later.") from error


def _read_verdict(flagged: dict[str, float], stage: Stage) -> Verdict | None:
    if not flagged:
        return None
    category = _MINORS if _MINORS in flagged else max(flagged, key=lambda name: flagged[name])
    return Verdict(
        category=MINORS if category == _MINORS else category,
        score=flagged[category],
        limit=min(_LIMIT, flagged[category]),
        stage=stage,
        by=NAME,
    )


def _encode_image(image: Image.Image) -> str:
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
