"""The language model: streamed answers of servers that behave and of those that do not, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatHandler, answer_json, run_chat_server, stall, stream_text
from fakes import DEADLINE, open_engine

from studio.core.errors import (
    JobCancelled,
    LlmTimeout,
    NotConfigured,
    ProviderError,
    RateLimited,
    StudioError,
    Unreachable,
)
from studio.core.settings import Settings
from studio.engine.engine import Engine
from studio.engine.prompt_room import PromptRoom, RewrittenPrompt
from studio.prompting.answer import MAX_PROMPTS, read_prompts, read_rewrite, strip_thoughts
from studio.prompting.dialects import Dialect
from studio.prompting.protect import protect_parts, restore_parts
from studio.providers.common import chat_connection
from studio.providers.common.chat_connection import ChatConnection

KEY = "sk-secret-key"
SCHEMA = {"type": "object"}
PROMPT = 'a cat <lora:ink:0.8>, __colour__ hat, (soft fur:1.2), a sign "OPEN {now}" BREAK {day|night}'


def ask(url: str, *, schema: Any = None, key: str = KEY, seconds: float = 20.0, cancelled: Any = None) -> str:
    settings = Settings(chat_url=url, chat_model="small", chat_seconds=seconds)
    chat = ChatConnection(lambda: settings, lambda: key)
    messages = [{"role": "user", "content": "a cat"}]
    return "".join(chat.stream(messages, schema=schema, is_cancelled=cancelled or (lambda: False)))


def test_an_answer_is_streamed_and_the_key_is_sent() -> None:
    with run_chat_server(stream_text("a fine cat")) as server:
        assert ask(server.url) == "a fine cat"
        assert server.seen[0]["stream"] is True
        assert server.seen[0]["model"] == "small"
        assert server.seen[0]["max_tokens"] == 4096
        assert server.headers_seen[0]["Authorization"] == f"Bearer {KEY}"
        ask(server.url, key="")
        assert "Authorization" not in server.headers_seen[1]


def test_a_server_that_does_not_stream_is_read_too() -> None:
    with run_chat_server(answer_json("a fine cat")) as server:
        assert ask(server.url) == "a fine cat"


def test_thoughts_are_used_only_where_there_is_nothing_else() -> None:
    def think(handler: ChatHandler, body: dict[str, Any]) -> None:
        handler.begin()
        handler.send_delta("hm", "reasoning_content")
        if "plain" not in body.get("model", ""):
            handler.send_delta("a cat")

    with run_chat_server(think) as server:
        assert ask(server.url) == "a cat"
    with run_chat_server(answer_json("", reasoning='{"prompt": "a cat"}')) as server:
        assert ask(server.url) == '{"prompt": "a cat"}'


def test_a_server_that_refuses_a_schema_is_asked_again_without() -> None:
    def refuse(handler: ChatHandler, body: dict[str, Any]) -> None:
        kind = body.get("response_format", {}).get("type")
        if kind is not None:
            handler.begin(400, "application/json")
            handler.send_text('{"error": {"message": "response_format is unknown"}}')
        else:
            stream_text("a cat")(handler, body)

    with run_chat_server(refuse) as server:
        assert ask(server.url, schema=SCHEMA) == "a cat"
        kinds = [body.get("response_format", {}).get("type") for body in server.seen]
        assert kinds == ["json_schema", "json_object", None]


def _drop_at_90_percent(handler: ChatHandler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for text in ('{"prompts": [{"prompt": "one"}, {"pro', 'mpt": "two"}, {"prompt": "thr'):
        data = f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n".encode()
        handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()


def test_what_came_before_a_server_hung_up_is_kept() -> None:
    with run_chat_server(_drop_at_90_percent) as server:
        prompts, _ = read_prompts(ask(server.url))
        assert [prompt.prompt for prompt in prompts] == ["one", "two"]


def _answer(status: int, text: str, kind: str = "application/json") -> Any:
    def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
        handler.begin(status, kind)
        handler.send_text(text)

    return reply


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (_answer(200, "<html><body>Welcome</body></html>", "text/html"), ProviderError, "nothing that can be read"),
        (answer_json(""), ProviderError, "nothing that can be read"),
        (answer_json(None), ProviderError, "nothing that can be read"),
        (_answer(200, "[1, 2]"), ProviderError, "nothing that can be read"),
        (_answer(200, '{"choices": [5]}'), ProviderError, "nothing that can be read"),
        (_answer(200, 'data: {"error": {"message": "no memory"}}\n\n'), ProviderError, "no memory"),
        (_answer(401, '{"error": "bad key"}'), NotConfigured, "refuses the key"),
        (_answer(404, '{"error": {"message": "no model"}}'), ProviderError, "404: no model"),
        (_answer(429, ""), RateLimited, "too many"),
        (_answer(500, f"broken by {KEY}"), ProviderError, "500: broken by …"),
        (_answer(302, ""), ProviderError, "302"),
        (_answer(200, "data: " + "x" * 3_000_000), ProviderError, "more than 2 MB"),
    ],
)
def test_a_server_that_answers_wrong_is_reported(reply: Any, error: type[StudioError], says: str) -> None:
    with run_chat_server(reply) as server:
        with pytest.raises(error, match=says) as caught:
            ask(server.url)
        assert KEY not in str(caught.value.to_json())
        assert caught.value.hint


def test_no_server_is_reported() -> None:
    with run_chat_server(answer_json("x")) as server:
        url = server.url
    with pytest.raises(Unreachable, match="cannot be reached"):
        ask(url)
    with pytest.raises(NotConfigured):
        ask("")


def test_a_server_that_never_begins_or_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_chat_server(stall()) as server, pytest.raises(LlmTimeout) as caught:
        ask(server.url, seconds=1.0)
    assert caught.value.details["stage"] == "first token"
    with run_chat_server(stall("a cat")) as server, pytest.raises(LlmTimeout) as caught:
        ask(server.url, seconds=1.0)
    assert (caught.value.details["stage"], caught.value.details["seconds"]) == ("answer", 1.0)
    monkeypatch.setattr(chat_connection, "_FIRST_SECONDS", 0.2)
    with run_chat_server(stall()) as server, pytest.raises(LlmTimeout):
        ask(server.url, seconds=60.0)


def test_stop_ends_the_call_and_the_connection() -> None:
    stopped = threading.Event()
    with run_chat_server(stall("a")) as server:
        settings = Settings(chat_url=server.url)
        stream = ChatConnection(lambda: settings, lambda: "").stream([], schema=None, is_cancelled=stopped.is_set)
        assert next(piece for piece in stream if piece) == "a"
        stopped.set()
        with pytest.raises(JobCancelled):
            for _ in stream:
                pass
        assert server.ended.wait(DEADLINE), "the connection is still open"


def test_only_a_server_elsewhere_may_cost() -> None:
    for url, paid in (
        ("http://127.0.0.1:11434/v1", False),
        ("http://localhost/v1", False),
        ("http://192.168.1.4/v1", False),
        ("http://[::1]/v1", False),
        ("http://box.local/v1", False),
        ("https://api.openai.com/v1", True),
        ("http://8.8.8.8/v1", True),
    ):
        assert ChatConnection(lambda url=url: Settings(chat_url=url), lambda: "").paid is paid  # type: ignore[misc]


class TestRewriting:
    """A prompt written anew by a language model."""

    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        opened = open_engine(tmp_path)
        yield opened
        opened.close()

    def rewrite(self, engine: Engine, url: str, prompt: str = PROMPT, paid: bool = False) -> str:
        settings = Settings(chat_url=url, chat_seconds=20)
        chat = ChatConnection(lambda: settings, lambda: "")
        if paid:
            chat.__class__ = type("Elsewhere", (ChatConnection,), {"paid": True})
        room = PromptRoom(chat, engine.ledger)
        *_, last = room.rewrite(prompt, Dialect.PHRASES, "ann", lambda: False)
        assert isinstance(last, RewrittenPrompt)
        return last.prompt

    def test_gives_the_parts_back_that_it_must_not_touch(self, engine: Engine) -> None:
        def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
            text = body["messages"][-1]["content"]
            assert "lora" not in text
            assert "__" not in text
            assert "|" not in text
            stream_text(json.dumps({"prompt": f"moonlit, {text}, {{sharp|soft}} lines"}))(handler, body)

        with run_chat_server(reply) as server:
            written = self.rewrite(engine, server.url)
        for part in protect_parts(PROMPT).parts:
            assert part in written
        assert "\\{sharp|soft\\}" in written  # what the model wrote is no syntax

    def test_is_refused_when_a_part_is_lost(self, engine: Engine) -> None:
        lost = stream_text('{"prompt": "a cat ⟦1⟧"}')
        with run_chat_server(lost) as server, pytest.raises(ProviderError, match="lost"):
            self.rewrite(engine, server.url)
        with run_chat_server(stream_text("I can't help with that <")) as server:
            assert self.rewrite(engine, server.url, "a cat").startswith("I can't")
        with run_chat_server(stream_text("{")) as server, pytest.raises(ProviderError, match="gave no prompt"):
            self.rewrite(engine, server.url, "a cat")

    def test_is_in_the_ledger_before_it_is_sent_where_it_may_cost(self, engine: Engine) -> None:
        rows: list[int] = []

        def count_rows() -> int:
            return len(engine._database.rows("SELECT * FROM ledger WHERE user = 'ann' AND provider = 'chat'"))

        def reply(handler: ChatHandler, body: dict[str, Any]) -> None:
            rows.append(count_rows())
            stream_text('{"prompt": "a cat"}')(handler, body)

        with run_chat_server(reply) as server:
            self.rewrite(engine, server.url, "a cat")
            assert count_rows() == 0
            self.rewrite(engine, server.url, "a cat", paid=True)
        assert rows == [0, 1]


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('{"prompts": [{"name": "A", "prompt": "one", "negativePrompt": "x"}]}', ["one"]),
        ('Sure! ```json\n{"prompts": [{"prompt": "one"},],}\n``` Enjoy.', ["one"]),
        ('<think>{"prompt": "no"}</think>{"prompt": "one"}', ["one"]),
        ('I think {"prompt": "no"} </think> {"prompt": "one"}', ["one"]),
        ('{"prompt": "one"}<think> and so on', ["one"]),
        ('{"prompts": ["one", "two"]}', ["one", "two"]),
        ('[{"positive": "one"}, {"text": "two"}]', ["one", "two"]),
        ('{"prompts": [{"prompt": "one"}]} {"prompts": [{"prompt": "two"}]}', ["one"]),
        ('{"prompts": [{"prompt": "one"}, {"prompt": "tw', ["one"]),
        ('{"prompt": "o\tn\u0007e\n"}', ["o ne"]),
        ("I can't help with that.", []),
        ("", []),
        ("{" * 5000, []),
        ('{"prompts": []}', []),
        ('{"prompt": 5}', []),
        (json.dumps({"prompts": [{"prompt": f"p{n}"} for n in range(40)]}), [f"p{n}" for n in range(MAX_PROMPTS)]),
    ],
)
def test_answers_are_read_however_they_come(text: str, prompts: list[str]) -> None:
    assert [prompt.prompt for prompt in read_prompts(text)[0]] == prompts


def test_what_is_taken_from_an_answer_is_bounded() -> None:
    (prompt,), config = read_prompts(
        json.dumps({"prompts": [{"prompt": "x" * 9000, "negative": ["a", "b"]}], "config": {"sampler": "magic"}})
    )
    assert (len(prompt.prompt), prompt.negative_prompt, prompt.name) == (2000, "a, b", "Prompt 1")
    assert config == {"sampler": "magic"}
    assert read_rewrite("<think>hm</think> a cat") == "a cat"
    assert read_rewrite('"a cat"') == "a cat"
    assert read_rewrite("<html>") == ""
    assert strip_thoughts("a</think>b") == "b"


def test_parts_survive_however_a_model_writes_the_marks() -> None:
    protected = protect_parts(PROMPT)
    assert len(protected.parts) == 6
    assert restore_parts(protected.text, protected.parts) == PROMPT
    loose = protected.text.replace("⟦", "[[ ").replace("⟧", " ]]")
    assert restore_parts(loose, protected.parts) == PROMPT
    for broken in (protected.text.replace("⟦2⟧", ""), protected.text + "⟦2⟧", protected.text + "⟦9⟧"):
        with pytest.raises(ProviderError, match="lost"):
            restore_parts(broken, protected.parts)
    assert restore_parts("a [1] cat", ()) == "a [1] cat"


_WRAPPERS = (
    lambda text: json.dumps({"prompt": text}),
    lambda text: f"```json\n{json.dumps({'prompt': text}, ensure_ascii=False)}\n```",
    lambda text: f"<think>The user wants ⟦9⟧.</think>{json.dumps({'prompt': text})}",
    lambda text: f"I should keep ⟦1⟧.</think>\n{json.dumps({'prompt': text})}",
    lambda text: json.dumps({"prompt": text, "negative": ["blur", "noise"]})[:-1] + ",}",
    lambda text: f"Here you are:\n{json.dumps({'prompts': [{'name': 'A', 'prompt': text}]})}\nEnjoy!",
    lambda text: f'"{text}"',
    lambda text: text,
)
_MARKS = (("⟦", "⟧"), ("⟦ ", " ⟧"), ("[[", "]]"), ("[", "]"), ("⟦", "]"))


@pytest.mark.parametrize("wrap", range(len(_WRAPPERS)))
@pytest.mark.parametrize("marks", _MARKS)
def test_protected_parts_survive_forty_ways_to_answer(wrap: int, marks: tuple[str, str]) -> None:
    protected = protect_parts(PROMPT)
    text = f"moonlit {protected.text}".replace("⟦", marks[0]).replace("⟧", marks[1])
    written = restore_parts(read_rewrite(_WRAPPERS[wrap](text)), protected.parts)
    assert written.startswith("moonlit a cat")
    for part in protected.parts:
        assert written.count(part) == 1
