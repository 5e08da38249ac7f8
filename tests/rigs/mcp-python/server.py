"""An MCP server on the official Python SDK. Its /mcp takes the tokens of the authorization server that ISSUER names, and asks
that server's introspection endpoint about each (RFC 7662). It prints one line of JSON when it is ready, and runs until its
standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any

import httpx2
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from pydantic import AnyHttpUrl
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control import Control

ISSUER = os.environ["ISSUER"]
CLIENT = (os.environ.get("CLIENT_ID", "rig-basic"), os.environ.get("CLIENT_SECRET", "rig-basic-secret"))
SCOPE = os.environ.get("SCOPE", "mcp:tools")
ISSUER_AS_URL = os.environ.get("ISSUER_AS_URL") == "1"
ADMIN_SCOPE = os.environ.get("ADMIN_SCOPE", "mcp:admin")


class Verifier:
    """The SDK's TokenVerifier, by introspection."""

    def __init__(self, issuer: str) -> None:
        # The rig closes connections that were idle for two seconds.
        limits = httpx2.Limits(max_connections=16, keepalive_expiry=1.0)
        self._http = httpx2.AsyncClient(limits=limits, timeout=30.0, trust_env=False)
        self._issuer = issuer
        self._endpoint: str | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        if self._endpoint is None:
            metadata = await self._http.get(f"{self._issuer}/.well-known/oauth-authorization-server")
            self._endpoint = metadata.raise_for_status().json()["introspection_endpoint"]
        form = {"token": token, "token_type_hint": "access_token"}
        answer = await self._http.post(self._endpoint, data=form, auth=CLIENT)
        known: dict[str, Any] = answer.raise_for_status().json()
        if not known.get("active"):
            return None
        return AccessToken(
            token=token,
            client_id=known["client_id"],
            scopes=known.get("scope", "").split(),
            expires_at=known.get("exp"),
            resource=known.get("aud"),
            subject=known.get("sub"),
            claims={"iss": known.get("iss")},
        )


class Events(EventStore):
    """All events, for streams that are resumed. The SDK names a stream by its request alone, so that two MCP sessions may
    have streams of the same name (see the README)."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = int(last_event_id)
        if not 0 < last <= len(self._events):
            return None
        stream = self._events[last - 1][0]
        for number, (of, message) in list(enumerate(self._events, 1))[last:]:
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def tools(mcp: MCPServer, control: Control) -> None:
    def counted(run: Any) -> Any:
        return mcp.tool(run.__name__, description="A tool for tests.", structured_output=False)(run)

    async def half_and_half(steps: int, ctx: Context, cut: bool) -> str:
        """Sends half of the progress, waits at the gate, and sends the other half."""
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps)
            if step * 2 == steps:
                await control.held()
                if cut:
                    await ctx.close_sse_stream()
        return "done"

    @counted
    async def echo(text: str) -> str:
        control.executed["echo"] += 1
        return text

    @counted
    async def admin_echo(text: str) -> str:
        control.executed["admin_echo"] += 1
        return text

    @counted
    async def whoami() -> str:
        control.executed["whoami"] += 1
        token = get_access_token()
        assert token is not None
        return json.dumps({"client_id": token.client_id, "sub": token.subject, "scopes": token.scopes})

    @counted
    async def slow() -> str:
        control.executed["slow"] += 1
        await control.held()
        return "done"

    @counted
    async def stream(steps: int, ctx: Context) -> str:
        control.executed["stream"] += 1
        return await half_and_half(steps, ctx, cut=False)

    @counted
    async def cut_stream(steps: int, ctx: Context) -> str:
        """The same, and the stream of the answer is cut behind the gate. The client resumes it."""
        control.executed["cut_stream"] += 1
        return await half_and_half(steps, ctx, cut=True)

    @counted
    async def announce(ctx: Context) -> str:
        control.executed["announce"] += 1
        await ctx.session.send_tool_list_changed()
        await ctx.notify_tools_changed()
        return "done"


class ToolScopes:
    """Requires a further scope of some tools, by the SDK's own middleware. The SDK knows scopes of a whole server only."""

    def __init__(self, app: ASGIApp, scopes: dict[str, list[str]], metadata: AnyHttpUrl) -> None:
        self._app = app
        self._guarded = {tool: RequireAuthMiddleware(app, needed, metadata) for tool, needed in scopes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/mcp":
            return await self._app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        read = False

        async def again() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._guarded.get(tool_of(body), self._app)(scope, again, send)


def tool_of(body: bytes) -> str | None:
    try:
        message = json.loads(body)
        return message["params"]["name"] if message["method"] == "tools/call" else None
    except (ValueError, KeyError, TypeError):
        return None


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    resource = AnyHttpUrl(f"{origin}/mcp")
    auth = AuthSettings(
        # Text keeps its spelling. An `AnyHttpUrl`, as in the SDK's examples, ends with a slash.
        issuer_url=AnyHttpUrl(ISSUER) if ISSUER_AS_URL else ISSUER,  # type: ignore[arg-type]
        resource_server_url=resource,
        required_scopes=[SCOPE],
        validate_token_resource=True,
    )
    control = Control()
    mcp = MCPServer("rig-python", auth=auth, token_verifier=Verifier(ISSUER), log_level="ERROR")
    tools(mcp, control)
    app = mcp.streamable_http_app(event_store=Events(), retry_interval=100)
    # Last, so that it is within the SDK's authentication.
    scopes = {"admin_echo": [SCOPE, ADMIN_SCOPE]}
    app.user_middleware.append(Middleware(ToolScopes, scopes=scopes, metadata=build_resource_metadata_url(resource)))
    ready = {"ready": True, "pid": os.getpid(), "admin": origin, "mcp": f"{origin}/mcp"}
    app.router.routes.extend(control.routes(ready))
    # Longer than any connection of a test is idle.
    config = uvicorn.Config(control.counting(app), log_level="error", timeout_keep_alive=120)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    print(json.dumps(ready), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    # Open streams would be waited for.
    serving.cancel()
    os._exit(0)


asyncio.run(main())
