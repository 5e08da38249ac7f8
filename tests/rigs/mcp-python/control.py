"""Counters and a gate for tests, outside of the protected endpoint."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Control:
    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.executed: Counter[str] = Counter()
        self._held: list[asyncio.Future[None]] = []
        self._streams = 0
        self._changed = asyncio.Condition()

    async def held(self) -> None:
        """Waits until a test opens the gate."""
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(release)
        await self._notify()
        await release

    def counting(self, app: ASGIApp) -> ASGIApp:
        """Counts each answer when its head leaves, and the open streams of GET."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] != "/mcp":
                return await app(scope, receive, send)
            is_stream = False

            async def noting(message: Message) -> None:
                nonlocal is_stream
                await send(message)
                if message["type"] == "http.response.start":
                    answer = f"{scope['method']} {message['status']}"
                    self.answers[answer] += 1
                    is_stream = answer == "GET 200"
                    await self._stream(1 if is_stream else 0)

            try:
                await app(scope, receive, noting)
            finally:
                await self._stream(-1 if is_stream else 0)

        return counted

    def routes(self, ready: dict[str, Any]) -> list[Route]:
        async def root(_: Request) -> JSONResponse:
            return JSONResponse(ready)

        async def stats(_: Request) -> JSONResponse:
            return JSONResponse(self._state())

        async def until(request: Request) -> JSONResponse:
            wanted = await request.json()
            async with self._changed:
                await self._changed.wait_for(lambda: wanted.items() <= self._state().items())
            return JSONResponse(self._state())

        # Bodies are read, because uvicorn resets a connection that it closes with something unread.
        async def release(request: Request) -> JSONResponse:
            await request.body()
            released, self._held = self._held, []
            for held in released:
                if not held.done():
                    held.set_result(None)
            return JSONResponse({"released": len(released)})

        async def reset(request: Request) -> JSONResponse:
            await request.body()
            self.answers.clear()
            self.executed.clear()
            return JSONResponse({})

        return [
            Route("/", root),
            Route("/stats", stats),
            Route("/until", until, methods=["POST"]),
            Route("/release", release, methods=["POST"]),
            Route("/reset", reset, methods=["POST"]),
        ]

    def _state(self) -> dict[str, Any]:
        return {
            "answers": dict(self.answers),
            "executed": dict(self.executed),
            "waiting": len(self._held),
            "streams": self._streams,
        }

    async def _stream(self, change: int) -> None:
        self._streams += change
        if change:
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
