"""A host on the official Python SDK that talks to an MCP server over HTTP, with the same tasks as web.mjs."""

import json
import sys
import time
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

BACK = "http://127.0.0.1:7777/callback"


def say(line) -> None:
    print(json.dumps(line), flush=True)


async def read():
    line = await anyio.to_thread.run_sync(sys.stdin.readline)
    return json.loads(line) if line else None


class Kept(TokenStorage):
    def __init__(self) -> None:
        self.tokens, self.client, self.all = None, None, []

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens) -> None:
        self.tokens = tokens
        self.all.append(tokens)

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info) -> None:
        self.client = client_info


async def show(url: str) -> None:
    say({"open": url})


async def callback() -> AuthorizationCodeResult:
    _, url = await read()
    answer = parse_qs(urlsplit(url).query)
    one = lambda name: answer.get(name, [None])[0]
    return AuthorizationCodeResult(code=one("code"), state=one("state"), iss=one("iss"))


async def main() -> None:
    kept = Kept()
    metadata = OAuthClientMetadata(
        client_name="Python host",
        redirect_uris=[BACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(sys.argv[1], metadata, kept, show, callback)
    async with AsyncExitStack() as stack:
        client = None
        while line := await read():
            task, *arguments = line
            try:
                done = None
                if task == "connect":
                    http = await stack.enter_async_context(httpx2.AsyncClient(auth=provider, timeout=30))
                    transport = streamable_http_client(sys.argv[1], http_client=http)
                    client = await stack.enter_async_context(Client(transport, mode="legacy"))
                    done = client.server_info.name
                elif task == "call":
                    done = (await client.call_tool("echo", {"text": arguments[0]})).content[0].text
                elif task == "expire":
                    # The SDK refreshes by its clock, and signs in anew when it is refused.
                    provider.context.token_expiry_time = time.time() - 1
                elif task == "replay":
                    provider.context.current_tokens = kept.all[0]
                    provider.context.token_expiry_time = time.time() - 1
                else:
                    await stack.aclose()
                say({"done": done})
            except Exception as error:
                say({"error": repr(error)})


anyio.run(main)
