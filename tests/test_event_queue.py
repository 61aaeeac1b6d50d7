from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fakes import DEADLINE
from fastapi import FastAPI
from gradio_client import Client
from serving import RunningStudio, serve_studio, wait_until

from studio.engine.studio import Studio
from studio.serving.event_queue import WaitingQueue, replace_queue

AT_ONCE = 2  # of the events of one function


class Counter:
    """A function of the page that notes how many of its calls run at once."""

    def __init__(self) -> None:
        self.lock, self.go = threading.Lock(), threading.Event()
        self.running = self.most = 0
        self.begun: list[str] = []

    def __call__(self, text: str) -> str:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.begun.append(text)
        assert self.go.wait(DEADLINE)
        with self.lock:
            self.running -= 1
        return text.upper()


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def served(tmp_path: Path, counter: Counter) -> Iterator[RunningStudio]:
    def mount(app: FastAPI, _: Studio) -> FastAPI:
        with gr.Blocks() as blocks:
            text, out = gr.Textbox(), gr.Textbox()
            run = counter.__call__
            text.submit(lambda value: run(value), text, out, api_name="count", concurrency_limit=AT_ONCE)
            text.submit(count_up, text, out, api_name="steps")
        blocks.queue(max_size=20)
        replace_queue(blocks)
        return gr.mount_gradio_app(app, blocks, path="/", auth_dependency=lambda request: request.scope["user"].name)

    with serve_studio(tmp_path, page=mount) as served:
        yield served
        counter.go.set()


def count_up(text: str) -> Iterator[str]:
    for number in range(3):
        yield f"{text} {number}"


def open_client(served: RunningStudio) -> Client:
    return Client(served.url, verbose=False, download_files=False, httpx_kwargs={"timeout": DEADLINE})


def test_events_run_side_by_side_up_to_their_limit_and_all_come_through(
    served: RunningStudio, counter: Counter
) -> None:
    client = open_client(served)
    jobs = [client.submit(word, api_name="/count") for word in "abcdef"]
    wait_until(lambda: len(counter.begun) == AT_ONCE)
    counter.go.set()
    assert [job.result(DEADLINE) for job in jobs] == list("ABCDEF")
    assert counter.most == AT_ONCE


def test_a_generator_gives_each_of_its_values(served: RunningStudio) -> None:
    job = open_client(served).submit("step", api_name="/steps")
    assert job.result(DEADLINE) == "step 2"
    assert job.outputs() == ["step 0", "step 1", "step 2"]


class CountedQueue(WaitingQueue):
    """Counts how often somebody looks for waiting events."""

    looks = 0

    def __len__(self) -> int:
        self.looks += 1
        return super().__len__()


def make_queue(**options: Any) -> CountedQueue:
    with gr.Blocks() as blocks:
        pass
    blocks.queue()
    queue = CountedQueue(
        live_updates=True, concurrency_count=4, update_intervals=1, max_size=None, blocks=blocks, **options
    )
    queue.active_jobs = [None] * 4
    return queue


def test_an_idle_queue_is_looked_at_once_and_ends_when_another_thread_closes_it() -> None:
    queue = make_queue()

    async def idle() -> int:
        running = asyncio.create_task(queue.start_processing())
        updates = asyncio.create_task(queue.start_progress_updates())
        for _ in range(50):
            await asyncio.sleep(0.002)
        looks = queue.looks
        closing = threading.Thread(target=queue.close)
        closing.start()
        await asyncio.wait_for(asyncio.gather(running, updates), DEADLINE)
        closing.join()
        return looks

    assert asyncio.run(asyncio.wait_for(idle(), DEADLINE)) == 1
