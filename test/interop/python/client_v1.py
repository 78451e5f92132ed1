"""The official client in Python, version 1: what it gets from an MCP server at a URL, or that a command starts."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


@asynccontextmanager
async def streams(how: str, command: str, args: list[str]):
    if how == "url":
        async with streamablehttp_client(command) as (read, write, _):
            yield read, write
    else:
        async with stdio_client(StdioServerParameters(command=command, args=args)) as (read, write):
            yield read, write


async def main(how: str, command: str, *args: str) -> None:
    async with streams(how, command, list(args)) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        said = []
        for message in ["hello", "forbidden", "again"]:
            try:
                result = await session.call_tool("echo", {"message": message})
                said.append({"text": result.content[0].text})
            except McpError as error:
                said.append({"code": error.error.code, "message": error.error.message, "data": error.error.data})
        print(json.dumps({"tools": [tool.name for tool in tools], "said": said}))


asyncio.run(main(*sys.argv[1:]))
