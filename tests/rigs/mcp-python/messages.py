"""An MCP server on the official Python SDK without protection, which sends every kind of message that the SDK has. It prints its port
when it is ready, and runs until its standard input closes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import warnings

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import Completion, ImageContent, SamplingMessage, TextContent
from pydantic import BaseModel

# The SDK calls the means of the wire of 2025 deprecated.
warnings.simplefilter("ignore")

mcp = MCPServer("messages", log_level="ERROR")


class Sum(BaseModel):
    total: float


class Answer(BaseModel):
    name: str


@mcp.tool()
async def echo(text: str) -> str:
    return text


@mcp.tool()
async def add(a: float, b: float) -> Sum:
    return Sum(total=a + b)


@mcp.tool()
async def image() -> ImageContent:
    return ImageContent(type="image", data="iVBORw0KGgo=", mime_type="image/png")


@mcp.tool()
async def fail() -> str:
    raise ValueError("a tool's own error, Zo\u00eb")


@mcp.tool()
async def work(steps: int, ctx: Context) -> str:
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await ctx.log("info", {"step": step, "text": "\u2028"})
    return "done"


@mcp.tool()
async def sample(ctx: Context) -> str:
    message = SamplingMessage(role="user", content=TextContent(type="text", text="p"))
    return str(await ctx.session.create_message([message], max_tokens=10, related_request_id=ctx.request_id))


@mcp.tool()
async def ask(ctx: Context) -> str:
    return str(await ctx.elicit("Who is it?", Answer))


@mcp.tool()
async def page(ctx: Context) -> str:
    return str(await ctx.elicit_url("Open it.", "https://example.com/x", "elicitation-1"))


@mcp.tool()
async def roots(ctx: Context) -> str:
    return str(await ctx.session.list_roots())


@mcp.tool()
async def announce(ctx: Context) -> str:
    await ctx.session.send_tool_list_changed()
    await ctx.session.send_prompt_list_changed()
    await ctx.session.send_resource_list_changed()
    await ctx.session.send_resource_updated("text://one")
    await ctx.session.send_elicit_complete("elicitation-1")
    await ctx.session.send_ping()
    return "done"


@mcp.resource("text://one")
def text() -> str:
    return "one\n\ttwo \U0001f511"


@mcp.resource("bytes://one", mime_type="application/octet-stream")
def data() -> bytes:
    return bytes(range(256))


@mcp.resource("text://{name}/greeting")
def greeting(name: str) -> str:
    return f"hello {name}"


@mcp.prompt()
def review(code: str) -> str:
    return f"Review {code}"


@mcp.completion()
async def complete(ref: object, argument: object, context: object) -> Completion:
    return Completion(values=["one", "two"], total=2, has_more=False)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(mcp.streamable_http_app(), log_level="error", timeout_keep_alive=120)
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    serving.cancel()
    os._exit(0)


asyncio.run(main())
