"""A host on the official Python SDK, with the same tasks as host.mjs. It runs in the environment of ../mcp-python."""

import json
import os
import sys
from contextlib import AsyncExitStack

import anyio
from mcp import Client, StdioServerParameters


async def main() -> None:
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with AsyncExitStack() as stack:
        client = None
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            task, *arguments = json.loads(line)
            try:
                if task == "connect":
                    mode = os.environ.get("HOST_MODE", "legacy")
                    client = await stack.enter_async_context(Client(server, mode=mode))
                    done = client.server_info.name
                elif task == "list":
                    done = [tool.name for tool in (await client.list_tools()).tools]
                elif task == "call":
                    done = (await client.call_tool("echo", {"text": arguments[0]})).content[0].text
                else:
                    await stack.aclose()
                    done = None
                result = {"done": done}
            except Exception as error:
                result = {"error": str(error), "data": getattr(getattr(error, "error", None), "data", None)}
            print(json.dumps(result), flush=True)


anyio.run(main)
