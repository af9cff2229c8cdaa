"""`remedy mcp`: hands what an agent asks on standard input to a running service."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from keptn_remedy.cli import server
from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain
from keptn_remedy.support.variables import SettingsError

if TYPE_CHECKING:
    from mcp import Client

ANSWER_SECONDS = 60.0
"""The service plans for at most 20 s."""


def mcp() -> int:
    """Serve one agent until it leaves; returns the exit code."""
    try:
        given = server.named()
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    if given.server is None or given.token is None:
        complain(["name the service by --server, and the agents' token by --token-file"])
        return WRONG_USAGE
    url = f"{str(given.server).rstrip('/')}/mcp"
    try:
        return asyncio.run(_serve(url, given.token.get_secret_value()))
    except ImportError as error:
        complain([f"{error.name} is missing; install keptn-remedy[mcp]"])
        return WRONG_USAGE
    except KeyboardInterrupt:
        return GOOD


async def _serve(url: str, token: str) -> int:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.server.stdio import stdio_server

    async with AsyncExitStack() as stack:
        http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_SECONDS
        )
        await stack.enter_async_context(http)
        if why := await _why_not(http, url):
            complain([why])
            return FAILED
        transport = streamable_http_client(url, http_client=http)
        remote = await stack.enter_async_context(Client(transport))
        reading, writing = await stack.enter_async_context(stdio_server())
        relay = _relay(remote)
        await relay.run(reading, writing, relay.create_initialization_options())
    return GOOD


async def _why_not(http: Any, url: str) -> str | None:
    """Why the service lets no agent in, in its own words."""
    import httpx2

    try:
        answer = await http.post(url, json={})
    except httpx2.HTTPError as error:
        return f"can't reach {url}: {str(error) or type(error).__name__}"
    if answer.status_code in (401, 429, 503):
        return f"{url} answered: {answer.json().get('title', answer.status_code)}"
    if answer.status_code in (404, 405):
        return f"{url} lets no agent in: REMEDY_AGENT_TOKEN_FILE is not set there"
    return None


def _relay(remote: Client) -> Any:
    """A server that has what the service offers."""
    import mcp_types
    from mcp.server.lowlevel import Server

    async def list_tools(_: object, __: object) -> mcp_types.ListToolsResult:
        return await remote.list_tools()

    async def call_tool(
        _: object, params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        try:
            return await remote.call_tool(params.name, params.arguments)
        except Exception as error:  # noqa: BLE001  the library raises many kinds; it may ask again
            complain([f"the service can't be asked: {error}"])
            text = mcp_types.TextContent(type="text", text="the service can't be asked now")
            return mcp_types.CallToolResult(content=[text], is_error=True)

    return Server(
        "keptn-remedy",
        instructions=remote.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
