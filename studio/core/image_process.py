"""Programs that read a file of anybody in a process of its own, which can be killed; few at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from studio.core.decoder_slots import DecoderSlots

MAX_DECODERS = 2  # processes at once, each of which may take some 2 GB
MAX_WAITING = 16  # that wait for one of them; each holds a thread of the server
QUEUE_SECONDS = 30.0  # seconds that an upload waits
PATIENT_SECONDS = 900.0  # seconds that a result waits which was drawn already, and maybe paid

_slots = DecoderSlots(MAX_DECODERS, MAX_WAITING)


def take_turn(*, patient: bool = False) -> AbstractContextManager[None]:
    """One of the places for such programs while the block runs. The `patient` wait however many wait before.

    Raises:
        QueueFull: too many wait already, or none ended in time.
    """
    return _slots.take(PATIENT_SECONDS if patient else QUEUE_SECONDS, patient=patient)


def run_image_program(
    program: Path, order: Mapping[str, object], data: bytes, seconds: float
) -> subprocess.CompletedProcess[bytes]:
    """Run `program`, a Python file that imports nothing of the studio, on a line of JSON and the file `data`. It gets
    no environment; the caller holds a turn.

    Raises:
        subprocess.TimeoutExpired: it was killed after `seconds`. OSError: it could not be started.
    """
    return subprocess.run(
        [sys.executable, "-I", str(program)],
        input=json.dumps(order).encode() + b"\n" + data,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={},
    )
