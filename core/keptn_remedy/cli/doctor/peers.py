"""What `remedy doctor` says of the peers of actions: each action that is on diagnoses its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, TypeGuard

from aiohttp import ClientSession

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.http_client import lent_session
from keptn_remedy.support.authored import deed

DIAGNOSIS_SECONDS = 15.0


async def of_actions(examined: Examined) -> AsyncIterator[Finding]:
    """What the actions that are on say of their peers and their rights; the same line once."""
    said: set[Finding] = set()
    async with lent_session() as http:
        looks = (
            _diagnosis(entry.name, entry.action.diagnose, http, examined)
            for entry in examined.registry.entries
            if entry.action
        )
        for finding in chain.from_iterable(await asyncio.gather(*looks)):
            if finding not in said:
                said.add(finding)
                yield finding


async def _diagnosis(
    name: str,
    diagnose: Callable[..., Awaitable[Any]],
    http: ClientSession,
    examined: Examined,
) -> Sequence[Finding]:
    """What an action finds, or that it failed to, whatever its code does."""
    bound = asyncio.timeout(DIAGNOSIS_SECONDS)
    try:
        async with bound:
            found: Any = await diagnose(http, examined.namespaces)
        if _is_sequence(found) and all(isinstance(each, Finding) for each in found):
            return found
        why = "it returned something else than Findings"
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001  code of an action
        if bound.expired():
            late = f"its diagnosis has no end within {DIAGNOSIS_SECONDS:g} s"
            return [Finding(name, False, late, "look at what it asks, and at the proxy")]
        why = str(error) or type(error).__name__
    except BaseException as error:  # noqa: BLE001  the same
        why = f"it {deed(error)}"
    return [Finding(name, False, f"its diagnosis failed: {why}", "tell its author")]


def _is_sequence(found: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(found, Sequence)
