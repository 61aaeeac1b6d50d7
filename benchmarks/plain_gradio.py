"""A page of Gradio alone, to compare ours with."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx

START_SECONDS = 120.0
_PAGE = """
import sys
import gradio as gr
with gr.Blocks(analytics_enabled=False) as blocks:
    {content}
blocks.launch(server_port=int(sys.argv[1]), quiet=True)
"""


@contextlib.contextmanager
def serve_page(content: str) -> Iterator[str]:
    """Serve a page whose Blocks hold `content`, a line of Python, from a process of its own; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _PAGE.format(content=content), str(port)])
    url = f"http://127.0.0.1:{port}/"
    try:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url, timeout=5)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)
