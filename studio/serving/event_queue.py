"""Gradio's queue of events, waiting for news instead of looking for some a thousand times a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import gradio as gr
from gradio.queueing import Queue
from gradio.utils import run_coro_in_background, set_task_name


class WaitingQueue(Queue):
    """Begins an event when one is pushed or one has ended."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def push(self, *args: Any, **options: Any) -> Any:
        """As Gradio's."""
        pushed = await super().push(*args, **options)
        self._news.set()
        return pushed

    async def process_events(self, *args: Any, **options: Any) -> None:
        """As Gradio's."""
        try:
            await super().process_events(*args, **options)
        finally:
            self._news.set()

    async def start_processing(self) -> None:
        """Begin events until the queue is closed."""
        self._loop = asyncio.get_running_loop()
        try:
            while not self.stopped:
                self._news.clear()
                if not await self._begin_next():
                    await self._news.wait()
        finally:
            self.stopped = True
            self._cancel_asyncio_tasks()

    async def start_progress_updates(self) -> None:
        """As Gradio's, where a function reports by gr.Progress."""
        if any(function.tracks_progress for function in self.blocks.fns.values()):
            await super().start_progress_updates()

    def close(self) -> None:
        """As Gradio's; from any thread."""
        super().close()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    async def _begin_next(self) -> bool:
        """Whether an event was begun: none is while all workers are busy, or none may run beside those that do."""
        if len(self) == 0 or None not in self.active_jobs:
            return False
        async with self.delete_lock:
            found = self.get_events()
        if not found:
            return False
        events, batch, concurrency_id = found
        self.active_jobs[self.active_jobs.index(None)] = events
        waiting = self.event_queue_per_concurrency_id[concurrency_id]
        waiting.current_concurrency += 1
        began, function = time.time(), events[0].fn
        waiting.start_times_per_fn[function].add(began)
        for event in events:
            if (record := self.event_analytics.get(event._id)) is not None:
                record["status"] = "processing"
        task = run_coro_in_background(self.process_events, events, batch, began, function)
        set_task_name(task, events[0].session_hash, function._id, events[0]._id, batch)
        self._asyncio_tasks.add(task)
        task.add_done_callback(self._asyncio_tasks.discard)
        if self.live_updates:
            self.broadcast_estimations(concurrency_id)
        return True


def replace_queue(blocks: gr.Blocks) -> None:
    """Give `blocks`, whose queue is set up and not running, a queue with the same limits that waits."""
    before = blocks._queue
    blocks._queue = WaitingQueue(
        live_updates=before.live_updates,
        concurrency_count=before.max_thread_count,
        update_intervals=before.update_intervals,
        max_size=before.max_size,
        blocks=blocks,
        default_concurrency_limit=before.default_concurrency_limit,
    )
