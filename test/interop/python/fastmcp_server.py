"""A server as people write it with FastMCP, over standard input and output."""

from fastmcp import Context, FastMCP

server = FastMCP("stock", instructions="Counts what is in stock.")
stock = {"apples": 3}


@server.tool
async def count(item: str, ctx: Context) -> dict[str, int]:
    """How many there are."""
    await ctx.report_progress(1, 1)
    return {item: stock.get(item, 0)}


@server.tool
def remove(item: str) -> str:
    """Takes all of an item away."""
    stock.pop(item)
    return f"no more {item}"


@server.resource("stock://{item}")
def describe(item: str) -> str:
    """What is known of an item."""
    return f"{item}: {stock.get(item, 0)}"


@server.prompt
def order(item: str) -> str:
    """A text that orders more."""
    return f"Please send more {item}."


server.run(show_banner=False)
