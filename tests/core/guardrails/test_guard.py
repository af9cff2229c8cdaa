"""The guard: which rules apply to a plan whose targets have different ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy import Change, Plan
from keptn_remedy.guardrails.guard import ApprovalNeeded, DryRun, Guard, NoPause, Objection
from keptn_remedy.guardrails.matching import Fixed, Rules
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journals import SetClock, trigger

BOTH_ORDERS = list(permutations(("a", "b")))


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


async def objection(journal: SqliteJournal, **settings: str) -> Objection | None:
    """To a plan for these targets, each under a rule of its name with these settings."""
    rules = [f"{{name: {t}, match: {{target: {t}}}, {said}}}" for t, said in settings.items()]
    policy = Rules(Policy.load(f"version: 1\nrules: [{', '.join(rules)}]"))

    async def unknown(project: str, stage: str) -> None:
        return None

    guard = Guard(
        journal=journal,
        clock=SetClock(),
        policy=Fixed(policy),
        pauses=NoPause(),
        services=unknown,
    )
    execution = await journal.accept(trigger(), "scale")
    assert execution
    plan = Plan(tuple(Change(target, "number", 0, 1) for target in settings))
    return await guard.try_admit(execution, plan, approved=False, dry_run=False)


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_the_shorter_approval_wins(
    journal: SqliteJournal, first: str, second: str
) -> None:
    found = await objection(
        journal,
        **{
            first: "mode: approve, approve_within: 15m",
            second: "mode: approve, approve_within: 1h",
        },
    )
    assert found == ApprovalNeeded(rule=first, seconds=900, default="deny")


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_deny_as_the_default_wins_before_the_shorter_time(
    journal: SqliteJournal, first: str, second: str
) -> None:
    found = await objection(
        journal,
        **{
            first: "mode: approve, approve_within: 1h",
            second: "mode: approve, approve_within: 15m, approval_default: approve",
        },
    )
    assert found == ApprovalNeeded(rule=first, seconds=3600, default="deny")


@pytest.mark.parametrize(("first", "second"), BOTH_ORDERS)
async def test_where_targets_differ_the_mode_that_does_least_wins(
    journal: SqliteJournal, first: str, second: str
) -> None:
    found = await objection(journal, **{first: "mode: dry-run", second: "mode: approve"})
    assert found == DryRun(rule=first, refusal=None)
