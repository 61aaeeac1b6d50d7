"""A chat server that speaks OpenAI's dialect (Ollama, llama.cpp, vLLM, clouds), asked for streamed answers (Chat)."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from studio.core.chat import MAX_ANSWER_TOKENS, TokenUse
from studio.core.errors import (
    MAY_BE_BILLED,
    JobCancelled,
    LlmTimeout,
    NotConfigured,
    ProviderError,
    StudioError,
    Unreachable,
)
from studio.core.settings import Settings
from studio.providers.common.chat_errors import CHECK_HINT, find_message, make_status_error
from studio.providers.common.chat_models import list_chat_models

MAX_ANSWER_BYTES = 2 * 1024 * 1024
_OPTIONAL_FIELDS = {"response_format", "stream_options"}  # of a body; not every server knows them
_CHUNK_BYTES = 65536
_CONNECT_SECONDS = 5.0
_FIRST_SECONDS = 20.0  # to the first piece
_POLL_SECONDS = 0.05  # between two looks at cancel and clock


class _FormatRefused(Exception):
    """The server does not know the wanted form of answer."""


class ChatConnection:
    """The chat server of the settings. `get_key` gives its key, "" for none."""

    def __init__(self, get_settings: Callable[[], Settings], get_key: Callable[[], str]) -> None:
        self._get_settings, self._get_key = get_settings, get_key

    @property
    def model(self) -> str:
        settings = self._get_settings()
        return (settings.chat_model or "chat") if settings.chat_url.strip() else ""

    @property
    def names_model(self) -> bool:
        return bool(self._get_settings().chat_model.strip())

    @property
    def paid(self) -> bool:
        return not _is_near(urlsplit(self._get_settings().chat_url).hostname or "")

    def list_models(self) -> tuple[str, ...]:
        return list_chat_models(self._get_settings().chat_url, self._get_key())

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None,
        is_cancelled: Callable[[], bool],
        on_use: Callable[[TokenUse], None] = lambda use: None,
    ) -> Iterator[str]:
        settings = self._get_settings()
        if not settings.chat_url.strip():
            raise NotConfigured("There is no chat server.", hint="Enter chat_url in Configurations.")
        end = time.monotonic() + settings.chat_seconds
        for form in _list_forms(schema, counts=self.paid):
            call = _Call(settings, self._get_key(), _build_body(settings, messages, form), end)
            try:
                yield from call.stream(is_cancelled)
                if call.use is not None:
                    on_use(call.use)
                return
            except _FormatRefused:
                continue


class _Call:
    """One request to the server. A thread reads it; whoever stops listening closes it."""

    def __init__(self, settings: Settings, key: str, body: Mapping[str, Any], end: float) -> None:
        self._settings, self._key, self._body, self._end = settings, key, body, end
        self._pieces: queue.Queue[str | StudioError | _FormatRefused | None] = queue.Queue()
        self._response: Any = None
        self.use: TokenUse | None = None  # what the server has counted
        self._closed = threading.Event()

    def stream(self, is_cancelled: Callable[[], bool]) -> Iterator[str]:
        threading.Thread(target=self._run, name="chat", daemon=True).start()
        first_end = min(self._end, time.monotonic() + _FIRST_SECONDS)
        came = False
        try:
            while True:
                if is_cancelled():
                    raise JobCancelled("Stopped.", hint="")
                self._check_clock(self._end if came else first_end, came)
                try:
                    piece = self._pieces.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    yield ""
                    continue
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise piece
                came = True
                yield piece
        finally:
            self._close()

    def _check_clock(self, end: float, came: bool) -> None:
        if time.monotonic() <= end:
            return
        seconds = self._settings.chat_seconds
        raise LlmTimeout(
            "The chat server did not answer in time.",
            hint="Try again, use a faster model, or raise chat_seconds in Configurations.",
            details={"seconds": seconds, "stage": "answer" if came else "first token", MAY_BE_BILLED: True},
        )

    def _run(self) -> None:
        """Read the answer into the queue; runs in a thread of its own."""
        import requests
        import urllib3

        try:
            self._read_response()
            self._pieces.put(None)
        except (StudioError, _FormatRefused) as error:
            self._pieces.put(error)
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            AttributeError,
        ) as error:  # also: closed by the reader
            reason = type(error).__name__
            self._pieces.put(Unreachable(f"The chat server cannot be reached ({reason}).", hint=CHECK_HINT))

    def _read_response(self) -> None:
        import requests

        address = self._settings.chat_url.strip().rstrip("/") + "/chat/completions"
        headers = {"Accept": "text/event-stream"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        with requests.post(
            address,
            json=self._body,
            headers=headers,
            stream=True,
            timeout=(_CONNECT_SECONDS, self._settings.chat_seconds),
            allow_redirects=False,
        ) as response:
            self._response = response
            if response.status_code != 200:
                raise self._make_status_error(response)
            self._read_answer(response)

    def _read_answer(self, response: Any) -> None:
        import urllib3

        reader = _AnswerReader()
        size = 0
        try:
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):  # as much as has come
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise ProviderError("The chat server sent more than 2 MB.", hint="Use another model.")
                if self._closed.is_set():
                    return
                for piece in reader.feed(chunk):
                    self._pieces.put(piece)
        except urllib3.exceptions.HTTPError:
            if not reader.has_text:
                raise
        for piece in reader.finish():
            self._pieces.put(piece)
        self.use = reader.use
        if not reader.has_text:
            raise ProviderError("The chat server answered with nothing that can be read.", hint=CHECK_HINT)

    def _make_status_error(self, response: Any) -> Exception:
        status = response.status_code
        said = response.raw.read(2000, decode_content=True).decode("utf-8", "replace")
        if status in (400, 422) and self._body.keys() & _OPTIONAL_FIELDS:
            return _FormatRefused()
        return make_status_error(status, said, self._key)

    def _close(self) -> None:
        self._closed.set()
        if self._response is not None:
            with contextlib.suppress(OSError, AttributeError, ValueError, RuntimeError):
                self._response.raw.shutdown()  # wakes the reading thread
            with contextlib.suppress(OSError, AttributeError, ValueError, RuntimeError):
                self._response.close()


class _AnswerReader:
    """Server-sent events, or one JSON answer where the server does not stream, as texts. Thoughts that a server sends
    apart are only used where there is nothing else."""

    def __init__(self) -> None:
        self._rest = b""
        self._thoughts: list[str] = []
        self._plain: list[bytes] = []
        self.has_text = False
        self.use: TokenUse | None = None

    def feed(self, chunk: bytes) -> Iterator[str]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._read_line(line.strip())

    def finish(self) -> Iterator[str]:
        yield from self._read_line(self._rest.strip())
        if not self.has_text and self._plain:
            yield from self._read_data(b"\n".join(self._plain))
        if not self.has_text and self._thoughts:
            self.has_text = True
            yield "".join(self._thoughts)

    def _read_line(self, line: bytes) -> Iterator[str]:
        if line.startswith(b"data:"):
            data = line.removeprefix(b"data:").strip()
            if data != b"[DONE]":
                yield from self._read_data(data)
        elif line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            self._plain.append(line)

    def _read_data(self, data: bytes) -> Iterator[str]:
        try:
            answer: Any = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(answer, dict):
            return
        if answer.get("error"):
            raise ProviderError(f"The chat server reports: {find_message(json.dumps(answer))}", hint=CHECK_HINT)
        self.use = _read_use(cast("dict[str, Any]", answer).get("usage")) or self.use
        choices: Any = cast("dict[str, Any]", answer).get("choices")
        first: Any = cast("list[Any]", choices)[0] if isinstance(choices, list) and choices else {}
        if not isinstance(first, dict):
            return
        part: Any = cast("dict[str, Any]", first).get("delta") or cast("dict[str, Any]", first).get("message") or {}
        if not isinstance(part, dict):
            return
        fields = cast("dict[str, Any]", part)
        for name in ("reasoning_content", "reasoning"):
            if isinstance(fields.get(name), str):
                self._thoughts.append(fields[name])
        text = fields.get("content")
        if isinstance(text, str) and text:
            self.has_text = True
            yield text


def _list_forms(schema: Mapping[str, Any] | None, *, counts: bool) -> list[Mapping[str, Any]]:
    """The optional fields to send, one after the other while the server refuses them: the form of the answer, and
    with `counts` that it should tell the tokens."""
    named = {"type": "json_schema", "json_schema": {"name": "prompts", "schema": dict(schema or {})}}
    forms: list[Mapping[str, Any]] = [{}]
    if counts:
        forms = [{"stream_options": {"include_usage": True}}, {}]
    if schema is None:
        return forms
    return [
        {**forms[0], "response_format": named},
        {**forms[0], "response_format": {"type": "json_object"}},
        *forms,
    ]


def _build_body(settings: Settings, messages: Sequence[Mapping[str, Any]], form: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [dict(each) for each in messages],
        "stream": True,
        "max_tokens": MAX_ANSWER_TOKENS,
        **form,
    }
    if settings.chat_model:
        body["model"] = settings.chat_model
    return body


def _read_use(usage: Any) -> TokenUse | None:
    """The tokens of an answer's `usage`, None where it is none."""
    fields = cast("dict[str, Any]", usage) if isinstance(usage, dict) else {}
    sent, received = fields.get("prompt_tokens"), fields.get("completion_tokens")
    if not isinstance(sent, int) or not isinstance(received, int) or min(sent, received) < 0:
        return None
    return TokenUse(sent=sent, received=received)


def _is_near(host: str) -> bool:
    """Whether the host is this machine or in a private network, where nobody bills."""
    if host in ("localhost", ""):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.endswith((".local", ".lan", ".internal"))
    return address.is_loopback or address.is_private
