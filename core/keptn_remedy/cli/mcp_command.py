"""`remedy mcp`: hands what an agent asks on standard input to a running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from keptn_remedy.cli import server
from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.support.variables import SettingsError

if TYPE_CHECKING:
    from mcp import Client

    Connected = Callable[[], AbstractAsyncContextManager[Client]]

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
    from mcp.server.stdio import stdio_server

    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=ANSWER_SECONDS) as http:
        if why := await _why_not(http, url):
            complain([why])
            return FAILED
        try:
            async with connected(http, url) as service:
                instructions, told = service.instructions, service.server_info
        except Exception as error:  # noqa: BLE001  the library raises many kinds, also in groups
            complain([f"{url} can't be asked: {_first_of(error)}"])
            return FAILED
        async with stdio_server() as (reading, writing):
            version = told.version if told else ""
            relaying = relay(partial(connected, http, url), instructions, version)
            await relaying.run(reading, writing, relaying.create_initialization_options())
    return GOOD


@asynccontextmanager
async def connected(http: Any, url: str) -> AsyncGenerator[Client]:
    """The service. The library's client ends with the first request that finds none there, so each
    request of an agent gets its own; the service keeps no session.
    """
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async with Client(streamable_http_client(url, http_client=http)) as client:
        yield client


def _first_of(error: Exception) -> Exception:
    """What went wrong, where groups of errors hold it."""
    group: Any = error  # the type of what a group holds isn't known
    return _first_of(group.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _why_not(http: Any, url: str) -> str | None:
    """Why no agent is let in there, in the service's own words if it is one."""
    import httpx2

    try:
        answer = await http.post(url, json={})
    except httpx2.HTTPError as error:
        return f"can't reach {url}: {str(error) or type(error).__name__}"
    if answer.is_redirect:
        return f"{url} leads to {answer.headers['Location']}; name the ops port itself as --server"
    try:
        said = answer.json()
    except ValueError:
        said = None
    if is_object(said) and "jsonrpc" in said:  # it found nothing asked, as whoever lets agents in
        return None
    title = said.get("title") if is_object(said) else None
    if not isinstance(title, str):
        at = url.removesuffix("/mcp")
        return f"{at} is not the ops port of a keptn-remedy: it answered {answer.status_code}"
    if answer.status_code in (404, 405):
        return (
            f"{url} lets no agent in: REMEDY_AGENT_TOKEN_FILE is not set there, "
            "or it is not the ops port"
        )
    hint = "; see --token-file" if answer.status_code == 401 else ""
    return f"{url} answered: {title}{hint}"


def relay(connected: Connected, instructions: str | None, version: str = "") -> Any:
    """A server that has what the service, of this version, offers."""
    import mcp_types
    from mcp.server.lowlevel import Server

    async def list_tools(_: object, __: object) -> mcp_types.ListToolsResult:
        async with connected() as service:
            return await service.list_tools()

    async def call_tool(
        _: object, params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        try:
            async with connected() as service:
                return await service.call_tool(params.name, params.arguments)
        except Exception as error:  # noqa: BLE001  the library raises many kinds; it may ask again
            complain([f"the service can't be asked: {_first_of(error)}"])
            text = mcp_types.TextContent(type="text", text="the service can't be asked now")
            return mcp_types.CallToolResult(content=[text], is_error=True)

    return Server(
        "keptn-remedy",
        version=version,
        instructions=instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
