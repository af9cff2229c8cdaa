"""What `remedy doctor` says of the peers of actions: each action that is on diagnoses its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.http_client import lent_session


async def of_actions(examined: Examined) -> AsyncIterator[Finding]:
    """What the actions that are on say of their peers and their rights; the same line once."""
    said: set[Finding] = set()
    async with lent_session() as http:
        for entry in examined.registry.entries:
            if entry.action is None:
                continue
            try:
                found = await entry.action.diagnose(http, examined.namespaces)
            except Exception as error:  # noqa: BLE001  code of an action
                why = f"its diagnosis failed: {str(error) or type(error).__name__}"
                found = [Finding(entry.name, False, why, "tell its author")]
            for finding in found:
                if finding not in said:
                    said.add(finding)
                    yield finding
