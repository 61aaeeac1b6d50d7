"""Answers that go on for long end with the login that asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message, Receive, Scope, Send

_LOOK_SECONDS = 5.0


class EndWithLogin:
    """`receive` and `send` of one connection. Once the login does not hold any more (`is_valid`), nothing that it asked
    for is sent: a stream ends as if whoever reads it had hung up, a WebSocket is closed; within _LOOK_SECONDS even when
    there is nothing to send. Answers of one message are not looked at."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, is_valid: Callable[[], bool]) -> None:
        self._is_socket = scope["type"] == "websocket"
        self._receive = receive
        self._send = send
        self._is_valid = is_valid
        self._ended = asyncio.Event()
        self._is_sending = False

    async def receive(self) -> Message:
        message = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while not message.done() and not ended.done():
                await asyncio.wait((message, ended), timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if self._is_sending and not self._is_valid():
                    await self._end()
                    break
        finally:
            ended.cancel()
            if not message.done():
                message.cancel()
        if not self._ended.is_set():
            return message.result()
        return {"type": "websocket.disconnect", "code": 1008} if self._is_socket else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._ended.is_set():
            return
        if message["type"] == "websocket.send" or message.get("more_body", False):
            self._is_sending = True
            if not self._is_valid():
                await self._end()
                return
        elif message["type"] in ("http.response.body", "websocket.close"):
            self._is_sending = False
        await self._send(message)

    async def _end(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        if self._is_socket:
            await self._send({"type": "websocket.close", "code": 1008, "reason": "Logged out."})
        else:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
