"""The door for agents, put together."""

from __future__ import annotations

from keptn_remedy.engine.preview import Preview
from keptn_remedy.journal import WholeRecord
from keptn_remedy.keptn.intake import Intake
from keptn_remedy.notifications.composing import undo_asked
from keptn_remedy.ops.agents.door import Door
from keptn_remedy.ops.agents.mcp_server import mcp_server
from keptn_remedy.ops.agents.tools import Tools
from keptn_remedy.ops.agents.waiting_requests import WaitingRequests
from keptn_remedy.ops.asked_undos import AskedUndos
from keptn_remedy.ops.operator_token import OF_AGENTS, OperatorToken
from keptn_remedy.service.engine import Engine
from keptn_remedy.service.foundation import Foundation, installed_version
from keptn_remedy.support.variables import SettingsError


def build_door(base: Foundation, token: OperatorToken, engine: Engine, intake: Intake) -> Door:
    """The door for whoever has the token.

    Raises:
        SettingsError: the MCP library isn't installed.
    """
    page_url = str(base.settings.page_url) if base.settings.page_url else None
    channels = list(base.channels.entries)

    async def tell(record: WholeRecord, reason: str) -> list[str]:
        found = undo_asked(record, reason, base.clock.now(), page_url)
        if channels:
            about = {"notification": found.as_json(), "channels": channels}
            await base.journal.note_ready(found.key, record.id, about)
        return channels

    tools = Tools(
        journal=base.journal,
        pauses=base.pauses,
        preview=Preview(engine.runtime, base.registry, engine.guard, base.browsing.past),
        intake=intake,
        tell=tell,
        waiting=WaitingRequests(base.journal),
        asked_undos=AskedUndos(base.journal, base.clock.now),
        clock=base.clock,
        mask=base.mask,
    )
    try:
        server = mcp_server(tools, installed_version())
    except ImportError as error:
        hint = f"{OF_AGENTS}: {error.name} is missing; install keptn-remedy[mcp]"
        raise SettingsError([hint]) from None
    return Door(server, token, base.metrics)
