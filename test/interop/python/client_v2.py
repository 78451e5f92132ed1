"""The official client in Python, version 2: what it gets from an MCP server at a URL, or that a command starts."""

import asyncio
import json
import sys

from mcp import Client, MCPError, StdioServerParameters


async def main(how: str, *rest: str) -> None:
    command, *args = rest
    target = command if how == "url" else StdioServerParameters(command=command, args=args)
    async with Client(target) as client:
        tools = (await client.list_tools()).tools
        said = []
        for message in ["hello", "forbidden", "again"]:
            try:
                result = await client.call_tool("echo", {"message": message})
                said.append({"text": result.content[0].text})
            except MCPError as error:
                said.append({"code": error.error.code, "message": error.error.message, "data": error.error.data})
        print(json.dumps({"tools": [tool.name for tool in tools], "said": said}))


asyncio.run(main(*sys.argv[1:]))
