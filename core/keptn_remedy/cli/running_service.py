"""The actions of the running service, where there is one: named by `--server`, or on this machine
with the journal that `REMEDY_JOURNAL` names.
"""

from __future__ import annotations

import os

from keptn_remedy import settings
from keptn_remedy.cli import server
from keptn_remedy.cli.remote_values import checked
from keptn_remedy.cli.server import RemoteService, ServerError
from keptn_remedy.journal import JournalError, JournalUnusable, open_beside, place_of
from keptn_remedy.ops.models import ActionInfo, Actions
from keptn_remedy.settings import Settings

LOCAL_SECONDS = 2.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound here


async def its_actions() -> tuple[str, list[ActionInfo]] | None:
    """The address of the service, and its actions. None where no service runs here, or it can't be
    asked; one that `--server` names must answer.

    Raises:
        ServerError: it doesn't.
        SettingsError: the settings hold a mistake.
    """
    asked = server.chosen()
    if asked:
        return asked.url, await _actions(asked)
    found = await here(settings.load(os.environ))
    if found is None:
        return None
    try:
        return found.url, await _actions(found)
    except ServerError:
        return None


async def here(config: Settings) -> RemoteService | None:
    """The service that runs on this machine from this journal; None if none does."""
    if not await _is_served(config):
        return None
    host = _EVERYWHERE.get(config.ops_host, config.ops_host)
    bracketed = f"[{host}]" if ":" in host else host
    return RemoteService(f"http://{bracketed}:{config.ops_port}", seconds=LOCAL_SECONDS)


async def _actions(asked: RemoteService) -> list[ActionInfo]:
    try:
        found = await asked.get("/api/actions")
    finally:
        await asked.close()
    return asked.understood(lambda answer: checked(Actions, answer).actions, found)


async def _is_served(config: Settings) -> bool:
    try:
        journal = open_beside(place_of(config))
    except (JournalUnusable, JournalError):
        return False
    try:
        return journal.is_served()
    except JournalUnusable:
        return False
    finally:
        await journal.close()
