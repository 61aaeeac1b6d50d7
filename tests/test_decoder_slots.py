"""Few images are decoded in processes of their own at once; the rest wait in a line that has an end."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes import DEADLINE
from PIL import Image

from studio.core import image_gate
from studio.core.decoder_slots import DecoderSlots
from studio.core.errors import QueueFull
from studio.core.image_gate import open_image
from studio.core.image_process import MAX_DECODERS


def make_bmp() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(out, "BMP")
    return out.getvalue()


def test_no_more_processes_than_slots_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, full, go = threading.Lock(), threading.Event(), threading.Event()
    running, most = 0, 0

    def decode(*args: Any) -> Image.Image:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == MAX_DECODERS:
                full.set()
        assert go.wait(DEADLINE)
        with lock:
            running -= 1
        return Image.new("RGB", (4, 3))

    monkeypatch.setattr(image_gate, "_decode_in_subprocess", decode)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(open_image, make_bmp()) for _ in range(8)]
        assert full.wait(DEADLINE)
        go.set()
        assert [each.result(DEADLINE).size for each in waiting] == [(4, 3)] * 8
    assert most == MAX_DECODERS


def test_a_full_line_refuses_at_once_and_the_patient_wait_all_the_same() -> None:
    slots = DecoderSlots(1, waiting=0)
    inside, go, got = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with slots.take(DEADLINE, patient=True):
            inside.set()
            assert go.wait(DEADLINE)

    def wait() -> None:
        with slots.take(DEADLINE, patient=True):
            got.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(hold)
        assert inside.wait(DEADLINE)
        with pytest.raises(QueueFull) as refused, slots.take(DEADLINE):
            raise AssertionError("there was no place")
        assert refused.value.hint
        second = pool.submit(wait)
        assert not got.is_set()
        go.set()
        first.result(DEADLINE)
        second.result(DEADLINE)
    assert got.is_set()


def test_who_waited_too_long_leaves_the_line_to_the_others() -> None:
    now = [0.0]
    slots = DecoderSlots(1, waiting=5, clock=lambda: now[0])
    with slots.take(10), pytest.raises(QueueFull), slots.take(0):
        raise AssertionError("there was no place")
    with slots.take(0):
        pass


def test_a_decoder_that_fails_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Image.Image:
        raise RuntimeError("gone")

    monkeypatch.setattr(image_gate, "_decode_in_subprocess", fail)
    for _ in range(MAX_DECODERS + 1):
        with pytest.raises(RuntimeError):
            open_image(make_bmp())
