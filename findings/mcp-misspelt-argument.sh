#!/usr/bin/env bash
# mcp 2.3.0: a misspelt argument of a tool is dropped, and the tool acts on its defaults.
#
# Guess: a call whose arguments don't fit the tool's input schema is refused. A missing or a wrong
#   argument is refused indeed, so an unknown one should be too.
# Seen: the schema that `@server.tool()` makes allows further properties, and the model that reads
#   the call ignores them. An agent that asks for `dryrun` gets a real run, and a success.
# Do: give each tool one parameter of a pydantic model with `extra="forbid"`, or compare the names
#   yourself before anything is done.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install mcp==2.3.0

"$folder/venv/bin/python" - <<'PY'
import asyncio
import logging
import sys
from importlib.metadata import version

from mcp import Client
from mcp.server import MCPServer
from pydantic import BaseModel, ConfigDict

logging.disable(logging.CRITICAL)
print("mcp", version("mcp"))
server = MCPServer("flags")


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    flag: str
    dry_run: bool = False


@server.tool()
def switch_off(flag: str, dry_run: bool = False) -> str:
    return f"{'would switch' if dry_run else 'switched'} {flag} off"


@server.tool()
def switch_off_strictly(order: Order) -> str:
    return switch_off(order.flag, order.dry_run)


async def ask(client, tool, arguments):
    answer = await client.call_tool(tool, arguments)
    return "refused" if answer.is_error else answer.content[0].text


async def main():
    async with Client(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        schema = tools["switch_off"].input_schema
        misspelt = {"flag": "new-checkout", "dryrun": True}
        return {
            "dry_run": await ask(client, "switch_off", {"flag": "new-checkout", "dry_run": True}),
            "dryrun": await ask(client, "switch_off", misspelt),
            "no flag": await ask(client, "switch_off", {"dry_run": True}),
            "dryrun, strict model": await ask(client, "switch_off_strictly", {"order": misspelt}),
            "schema, additionalProperties": schema.get("additionalProperties", "not said"),
        }


seen = asyncio.run(main())
recorded = {
    "dry_run": "would switch new-checkout off",
    "dryrun": "switched new-checkout off",
    "no flag": "refused",
    "dryrun, strict model": "refused",
    "schema, additionalProperties": "not said",
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
