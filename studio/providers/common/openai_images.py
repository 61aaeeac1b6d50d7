"""The images dialect that OpenAI speaks and other servers repeat, through its client. Retries are ours: the client's
own would send a paid call twice."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from studio.core.base64_text import decode_base64
from studio.core.errors import InvalidRequest, StudioError
from studio.core.provider import HttpResponse, ProviderClient, RenderRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common.http_wire import NOT_RETRIED, make_unreachable_error
from studio.providers.common.request_shapes import MIB, encode_clear_mask, encode_for_upload
from studio.providers.common.service_errors import (
    find_message,
    make_answer_error,
    make_credit_error,
    make_refusal_error,
    make_status_error,
    read_json,
)

if TYPE_CHECKING:
    import ssl

    import openai

_CALL_TIMEOUT = 600.0  # a hard prompt takes minutes
_MAX_MASK_BYTES = 4 * MIB
_NO_CREDIT_CODES = ("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached")
_REFUSAL_CODES = ("moderation_blocked", "content_policy_violation")
_TASK_INSTRUCTIONS = {
    Task.ERASE: "Remove what is masked and fill the place as if it had never been there. ",
    Task.REPLACE_BACKGROUND: "Keep the subject exactly as it is and replace the background: ",
    Task.STYLE_TRANSFER: "Redraw the first image in the style of the second one. ",
}


def build_image_arguments(
    order: RenderRequest, extra: Mapping[str, Any], size: tuple[int, int] | None = None
) -> tuple[str, dict[str, Any]]:
    """("generate" or "edit", the arguments of the client's method). `size` is the size to ask for, None for the
    server's own choice; without a model in the order none is named. Pure."""
    request = order.request
    prompt = (_TASK_INSTRUCTIONS.get(request.task, "") + request.prompt).strip()
    if not prompt:
        raise InvalidRequest("This model needs a prompt.", hint="Describe the image.")
    arguments: dict[str, Any] = {"prompt": prompt, "n": len(order.seeds), **extra}
    arguments |= {"model": order.model} if order.model else {}
    arguments |= {"size": f"{size[0]}x{size[1]}"} if size else {}
    if request.source is None:
        return "generate", arguments
    names = [request.source, *(one.image for one in request.references), *filter(None, [request.background])]
    files = [encode_for_upload(order.images[name]) for name in names]
    sent = [(f"{k}.{kind.rpartition('/')[2]}", data, kind) for k, (data, kind) in enumerate(files)]
    arguments["image"] = sent if len(sent) > 1 else sent[0]
    if request.mask:
        mask = encode_clear_mask(order.images[request.mask], invert=request.inpaint.invert, most_bytes=_MAX_MASK_BYTES)
        arguments["mask"] = ("mask.png", mask, "image/png")
    return "edit", arguments


def request_images(
    title: str, order: RenderRequest, wire: ProviderClient, extra: Mapping[str, Any], size: tuple[int, int] | None
) -> dict[str, Any]:
    """The answer to the order, as JSON.

    Raises:
        StudioError: the server refused it, or answered with an error whatever its status was.
    """
    method, arguments = build_image_arguments(order, extra, size)
    order.context.report_progress(0, 1)

    def call(client: openai.OpenAI) -> HttpResponse:
        answer = getattr(client.images.with_raw_response, method)(**arguments).http_response
        return HttpResponse(status=answer.status_code, headers=answer.headers, body=answer.content, paid=not wire.free)

    answer = wire.call_with_retry(lambda: _run_openai(title, wire, call, seconds=_CALL_TIMEOUT, paid=True))
    found = read_json(title, answer)
    if any(found.get(name) for name in ("data", "images")):
        return found
    message = find_message(answer)
    raise make_answer_error(title, f"an error: {message}" if message else "no image")


def list_image_entries(answer: Mapping[str, Any]) -> list[Any]:
    """The images of an answer, each as the server gives it: a list, or one alone."""
    found = answer.get("data") or answer.get("images")
    if isinstance(found, Mapping):
        found = found.get("images") or [found]
    return list(found) if isinstance(found, list) else [found]


def list_server_models(title: str, wire: ProviderClient) -> dict[str, str]:
    """The names of the server's models, each with the day it is shut down, "" where none is known."""

    def call(client: openai.OpenAI) -> dict[str, str]:
        return {one.id: str(getattr(one, "shutdown_date", None) or "") for one in client.models.list()}

    return wire.call_with_retry(lambda: _run_openai(title, wire, call, seconds=20, paid=False))


def decode_image_data(title: str, answer: Mapping[str, Any]) -> list[bytes]:
    """The images of an answer, at least one.

    Raises:
        ProviderError: it holds none, or what is no base64.
    """
    try:
        found = [decode_base64(entry["b64_json"]) for entry in list_image_entries(answer) if entry.get("b64_json")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise make_answer_error(title, "what is no image") from error
    if not found:
        raise make_answer_error(title, "no image")
    return found


def draw_until_complete(
    order: RenderRequest, draw: Callable[[RenderRequest], list[RenderedImage]]
) -> list[RenderedImage]:
    """One image per seed of the order: a server that gives fewer than it was asked for is asked for the rest. `draw`
    gives at least one."""
    drawn: list[RenderedImage] = []
    while len(drawn) < len(order.seeds):
        left = order.seeds[len(drawn) :]
        found = draw(dataclasses.replace(order, seeds=left))
        drawn += [dataclasses.replace(one, seed=seed.seed) for one, seed in zip(found, left, strict=False)]
    return drawn


def _run_openai(
    title: str, wire: ProviderClient, call: Callable[[openai.OpenAI], Any], *, seconds: float, paid: bool
) -> Any:
    import openai

    paid = paid and not wire.free

    def work() -> Any:
        with openai.OpenAI(
            base_url=wire.base_url,
            api_key=wire.key or "none",
            max_retries=0,
            timeout=seconds,
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False, verify=_load_certificates()
            ),  # the key stays with this server
        ) as client:
            return call(client)

    try:
        return wire.run(work, seconds=seconds + 5, paid=paid)
    except openai.APIStatusError as error:
        raise _map_api_error(title, error, paid=paid) from None  # its request holds the key
    except openai.APITimeoutError:
        unreachable = make_unreachable_error(title, paid=paid)
        unreachable.details[NOT_RETRIED] = True
        raise unreachable from None
    except openai.APIConnectionError as error:
        raise make_unreachable_error(title, paid=paid and not is_connect_error(error)) from None
    except (openai.OpenAIError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise make_answer_error(title, f"something unexpected ({type(error).__name__})") from None


@functools.cache
def _load_certificates() -> ssl.SSLContext:
    """The certificates to trust, read once: they take as long as everything else around a call."""
    import httpx

    return httpx.create_ssl_context()


def _map_api_error(title: str, error: openai.APIStatusError, *, paid: bool) -> StudioError:
    answer = HttpResponse(
        status=error.status_code, headers=error.response.headers, body=error.response.content, paid=paid
    )
    body: Any = error.body if isinstance(error.body, dict) else {}
    code, message = str(body.get("code") or error.code or ""), find_message(answer, "error.message")
    if code in _NO_CREDIT_CODES:
        return make_credit_error(title)
    if code in _REFUSAL_CODES:
        details = body.get("moderation_details") or {}
        categories = details.get("categories") if isinstance(details, dict) else None
        return make_refusal_error(title, f"{message} {', '.join(map(str, categories or ()))}".strip(), billed=False)
    return make_status_error(title, answer, message)


def is_connect_error(error: BaseException) -> bool:
    """Whether the client did not even reach the server."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__name__ in (
            "ConnectError",
            "ConnectTimeout",
            "PoolTimeout",
            "ConnectionRefusedError",
            "gaierror",
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
