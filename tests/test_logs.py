"""The logs say enough and never too much."""

from __future__ import annotations

import json
import logging

import pytest

from studio.core.errors import StorageFailed
from studio.core.request import GenerationRequest
from studio.core.secrets_filter import redact
from studio.core.settings import Settings
from studio.engine.logs import Logs


@pytest.fixture
def logs(tmp_path):
    opened = Logs(tmp_path)
    yield opened
    opened.close()


KEYS = [
    "sk-proj-AbCdEf0123456789AbCdEf",
    "hf_AbCdEfGhIjKlMnOpQrStUv",
    "r8_AbCdEf0123456789AbCdEf",
    "AIzaSyA0123456789abcdefghijklmnopq",
    "ghp_0123456789abcdefghij",
    "01234567-89ab-cdef-0123-456789abcdef:0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_taken_out(key):
    for text in (key, f"failed with {key}.", f'{{"api_key": "{key}"}}', f"https://x/?key={key}&y=1", f"Bearer {key}"):
        assert key not in redact(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-0123456789", "abc.def"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
        ("password=hunter22", "hunter22"),
        ("api_key='0123456789abcdef'", "0123456789abcdef"),
        ("https://ann:hunter22@example.org/x", "hunter22"),
    ],
)
def test_secrets_are_taken_out(text, secret):
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "a keyboard with keys",
        "skateboarding-competition-at-sunset",
        "key photorealistic light",
        "key light, rim light",
        "steps 20 seed 123456789012",
    ],
)
def test_ordinary_words_stay(text):
    assert redact(text) == text


def test_a_key_in_a_traceback_does_not_reach_the_file(logs, tmp_path):
    try:
        raise ValueError(f"401 for {KEYS[0]}")
    except ValueError:
        logging.getLogger("studio.pipelines.catalog.hub").exception("failed")
    text = (tmp_path / "studio.log").read_text()
    assert "Traceback" in text
    assert KEYS[0] not in text


def test_nobody_forges_an_entry(logs, tmp_path):
    logging.getLogger("studio.x").warning("user %s", "ann\r\n2026-01-01 ERROR root: all is lost")
    assert len((tmp_path / "studio.log").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(), True),
        (Settings(host="0.0.0.0"), False),
        (Settings(share=True), False),
        (Settings(share=True, log_prompts=True), True),
    ],
)
def test_prompts_are_written_only_when_private_or_wanted(logs, tmp_path, settings, told):
    logs.log_generation(
        {"job": "1"}, GenerationRequest(prompt="garden, ü\n", negative_prompt="password=hunter22"), settings
    )
    line = json.loads((tmp_path / "generation.jsonl").read_text())
    assert (line.get("prompt") == "garden, ü\n") is told
    assert "hunter22" not in str(line)
    assert line["time"]


def test_levels_and_the_tail(logs, tmp_path):
    log = logging.getLogger("studio.test")
    log.debug("quiet")
    logs.set_level("debug")
    log.debug("loud")
    logs.set_level("error")
    log.warning("unheard")
    for number in range(5):
        log.error("line %d", number)
    assert [line.rsplit(" ", 1)[1] for line in logs.read_tail(3)] == ["2", "3", "4"]
    text = (tmp_path / "studio.log").read_text()
    assert "loud" in text
    assert "quiet" not in text
    assert "unheard" not in text


def test_access_lines_go_to_their_own_file(logs, tmp_path):
    logs.get_access_logger().info("GET /x?token=%s 200", "abcdefgh12345678")
    text = (tmp_path / "access.log").read_text()
    assert "GET /x" in text
    assert "abcdefgh12345678" not in text
    assert (tmp_path / "studio.log").read_text() == ""


def test_files_are_rotated(logs, tmp_path):
    for _ in range(60):
        logs.get_access_logger().info("x" * 100_000)
    assert (tmp_path / "access.log.1").is_file()
    assert (tmp_path / "access.log").stat().st_size < 5_000_000


def test_closed_logs_write_no_more(tmp_path):
    logs = Logs(tmp_path)
    logs.close()
    logging.getLogger("studio.test").error("late")
    assert logs.read_tail() == []


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        Logs(tmp_path / "file" / "logs")
