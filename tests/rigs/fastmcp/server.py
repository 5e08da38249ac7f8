"""An MCP server on FastMCP, whose own authorization server takes ID-JAGs, and the identity provider that issues them. It prints
one line of JSON when it is ready, and runs until its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth import IdentityAssertion, OAuthProxy
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from key_value.aio.stores.memory import MemoryStore
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from identity import IdentityProvider

LIFETIME = int(os.environ.get("LIFETIME", "300"))


def listening() -> tuple[socket.socket, str]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return sock, f"http://127.0.0.1:{sock.getsockname()[1]}"


def counting(app: ASGIApp, provider: IdentityProvider) -> ASGIApp:
    """Counts the requests at the token endpoint of the MCP server."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/token":
            provider.counts["grant"] += 1
        await app(scope, receive, send)

    return counted


def mcp_server(base: str, provider: IdentityProvider) -> ASGIApp:
    auth = OAuthProxy(
        # The provider of people who log in themselves, which nobody does here.
        upstream_authorization_endpoint=f"{provider.issuer}/authorize",
        upstream_token_endpoint=f"{provider.issuer}/token",
        upstream_client_id="upstream",
        upstream_client_secret="upstream-secret",
        token_verifier=StaticTokenVerifier(tokens={}, required_scopes=["mcp:tools"]),
        base_url=base,
        client_storage=MemoryStore(),
        jwt_signing_key=b"0123456789abcdef0123456789abcdef",
        identity_assertion=IdentityAssertion(
            trusted_issuers=[provider.issuer],
            required_scopes=["mcp:tools"],
            access_token_expiry_seconds=LIFETIME,
        ),
    )
    mcp = FastMCP("rig", auth=auth)

    @mcp.tool
    def echo(text: str) -> str:
        return text

    return mcp.http_app(path="/mcp", json_response=True, stateless_http=True)


async def main() -> None:
    (server_socket, base), (admin_socket, admin) = listening(), listening()
    provider = IdentityProvider(admin)
    ready = {"admin": admin, "idp": admin, "mcp": f"{base}/mcp", "id_token": provider.id_token()}

    async def config(request: Request) -> JSONResponse:
        provider.client_id = (await request.json())["client_id"]
        return JSONResponse({})

    async def stats(_: Request) -> JSONResponse:
        return JSONResponse(dict(provider.counts))

    routes = [*provider.routes(), Route("/config", config, methods=["POST"]), Route("/stats", stats)]
    app = mcp_server(base, provider)

    def serving(app: Any, sock: socket.socket) -> Any:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="on"))
        return server.serve(sockets=[sock])

    async def until_closed() -> None:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)

    print(json.dumps(ready), flush=True)
    await asyncio.gather(
        serving(counting(app, provider), server_socket),
        serving(Starlette(routes=routes), admin_socket),
        until_closed(),
    )


asyncio.run(main())
