"""What the page shows of problems, without a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession

from keptn_remedy.journal import Episode, Rung
from keptn_remedy.ops.page.curves import HEIGHT, WIDTH, curves
from keptn_remedy.ops.page.views.ladder import following, steps
from keptn_remedy.standalone.rules import Criterion, Remedy
from tests.core.ops.page.surfing import house
from tests.providing import ops_url
from tests.standalone.rig import PROMQL, Rig, Switch, standalone
from tests.standalone.test_ladder import EPISODE, NOW, RUNG

TIMES: Any = SimpleNamespace(hold_for=30.0, quiet_for=300.0)
ASK = "version: 1\nrules: [{name: ask, mode: approve, approve_within: 1d}]\n"


@asynccontextmanager
async def seen(rig: Rig) -> AsyncIterator[Any]:
    """Gets a path of the page: its status and its text."""
    async with ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(ops_url(rig.service, path)) as answer:
                return answer.status, await answer.text()

        yield get


async def test_a_problem_is_shown_with_its_ladder_its_curve_and_its_time_line(
    tmp_path: Path,
) -> None:
    query = PROMQL.replace("QUERY", "errors").replace("hold", "next")
    async with standalone(tmp_path, remediation=query, page_public=True) as rig, seen(rig) as get:
        rig.world.series["errors"] = 9
        await rig.send(rig.world.fire("f1"))
        episode = await rig.until_state("escalated", step=5)
        await rig.until_told()
        rungs = await rig.rungs()
        status, shown = await get(f"/problems/{episode.id}")
        lists = {path: (await get(path))[1] for path in ("/", "/inbox", "/problems")}
        _, executed = await get(f"/executions/{rungs[0].execution}")
        missing, _ = await get(f"/problems/{episode.id[:9]}")

    assert (status, missing) == (200, 404)
    assert "9 is not &lt; 5" in shown
    assert "did not help" in shown
    assert "The bound" not in shown
    assert "It was 9 at first and 9 in the end; the bound is 5." in shown
    assert "<polyline" in shown
    assert "1. switch acted at" in shown
    assert "a person was told" in shown
    assert "switch position: zero -&gt; one" in shown
    assert [path for path, text in lists.items() if f"/problems/{episode.id}" not in text] == []
    assert "Given to a person" in lists["/inbox"]
    assert f'href="/problems/{episode.id}"' in executed


async def test_a_rung_that_asks_a_person_is_waited_for_and_what_opened_nothing_is_listed(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path, policy=ASK, page_public=True) as rig, seen(rig) as get:
        await rig.send(rig.world.fire("f1"), {**rig.world.fire("f2"), "labels": {"a": "b"}})
        episode = await rig.until_state("acting", step=5)

        async def is_asking() -> bool:
            return "A person decides in the inbox" in (await get(f"/problems/{episode.id}"))[1]

        await rig.until_true(is_asking)
        _, listed = await get("/problems")
        assert Switch.applied == []

    assert "Alerts that opened no problem" in listed
    assert "no service: it has no label service" in listed


async def test_with_keptn_there_are_no_problems(tmp_path: Path) -> None:
    async with house(tmp_path, page_public=True) as home:
        for path in ("/", "/problems", "/problems/x", "/inbox"):
            answered = await home.somebody().get(path)
            assert "/problems" not in answered.text
            assert answered.status == (404 if "problems" in path else 200)


def rung(**of_it: Any) -> Rung:
    return replace(RUNG, **of_it)


@pytest.mark.parametrize(
    ("of_it", "rungs", "badges"),
    [
        ({"state": "open"}, [], ["next", "only if needed", "only if needed"]),
        ({"state": "acting"}, [rung()], ["acts", "only if needed", "only if needed"]),
        ({"state": "judging"}, [rung()], ["is judged", "only if needed", "only if needed"]),
        ({"state": "held"}, [], ["held", "only if needed", "only if needed"]),
        (
            {"state": "waiting", "index": 1},
            [rung(verdict="worse")],
            ["made it worse", "next", "only if needed"],
        ),
        (
            {"state": "waiting", "index": 1},
            [rung(status="errored")],
            ["did not succeed", "next", "only if needed"],
        ),
        ({"state": "helped"}, [rung(verdict="helped")], ["helped", "not needed", "not needed"]),
        (
            {"state": "escalated", "escalated_at": NOW},
            [rung(verdict="unknown")],
            ["can't tell", "not needed", "is being told"],
        ),
        (
            {"state": "closed", "closed_at": NOW, "escalated_at": NOW, "told_at": NOW},
            [rung(verdict="failed")],
            ["did not help", "not needed", "was told"],
        ),
    ],
)
def test_the_ladder_as_steps(of_it: dict[str, Any], rungs: list[Rung], badges: list[str]) -> None:
    found = steps(replace(EPISODE, **of_it), rungs)
    assert [each.badge.words for each in found] == badges
    assert sum(each.is_now for each in found) <= 1


@pytest.mark.parametrize(
    ("of_it", "of_rung", "words", "in_seconds"),
    [
        ({"state": "open"}, None, "Its remedy is looked up", 0),
        ({}, None, "scale is tried", 0),
        ({"index": 2}, None, "A person is told", 0),
        ({"state": "held", "held_from": "open"}, None, "Nothing: no remedy answers it.", None),
        ({"state": "held", "due_at": NOW + 9}, None, "It is looked at again", 9),
        (
            {"state": "held", "due_at": NOW + 9, "reason": "the alert is silenced or inhibited"},
            None,
            "It goes on once no silence or other alert mutes it. It is looked at again",
            9,
        ),
        ({"state": "acting"}, {}, "The judge looks once the action has ended.", None),
        ({"state": "settling", "due_at": NOW + 5}, {}, "The judge looks", 5),
        (
            {"state": "judging"},
            {"window_ends_at": NOW + 7},
            "The judge decides at the latest",
            7,
        ),
        (
            {"state": "judging"},
            {"good_since": NOW},
            "It has helped, if it holds until then",
            30,
        ),
        ({"state": "helped"}, {}, "It is closed once its alerts have ended.", None),
        (
            {"state": "helped", "quiet_since": NOW},
            {},
            "It is closed, if nothing of it fires until then",
            300,
        ),
        (
            {"state": "escalated"},
            {},
            "A person is at it. It is closed once its alerts have ended.",
            None,
        ),
        ({"state": "closed", "closed_at": NOW}, {}, "Nothing: it is closed.", None),
    ],
)
def test_what_happens_next(
    of_it: dict[str, Any], of_rung: dict[str, Any] | None, words: str, in_seconds: int | None
) -> None:
    rungs = [] if of_rung is None else [rung(**of_rung)]
    found = following(replace(EPISODE, **of_it), rungs, TIMES)
    at = found.at.timestamp() - NOW if found.at else None
    assert (found.words, at) == (words, in_seconds)


def judged_by(*criteria: Criterion) -> Episode:
    entry = [asdict(Remedy(action=f"a{n}", criterion=it)) for n, it in enumerate(criteria)]
    return replace(EPISODE, remedy={"problem_type": "Slow", "rungs": entry})


def test_a_curve_is_drawn_for_each_run_of_tries_of_one_criterion() -> None:
    same, other = Criterion(kind="promql", query="q", want="< 1"), Criterion()
    episode = judged_by(same, same, other)
    numbers = {"curve": [[5.0, 4.0], [10.0, 2.0]], "bound": 1.0}
    rungs = [
        rung(index=0, start_value=8.0, ended_at=NOW - 88, numbers=numbers),
        rung(index=1, began_at=NOW, numbers=numbers),
        rung(index=2, began_at=NOW + 99, numbers={}),
    ]
    [drawn] = curves(episode, rungs)
    assert drawn.title == "q wanted < 1"
    assert drawn.words == "It was 8 at first and 2 in the end; the bound is 1."
    assert len(drawn.points) == 5
    assert len(drawn.marks) == 2
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn.points)
    # Up is more: the first number is the greatest, and the bound is below all.
    assert drawn.points[0][1] == min(y for _, y in drawn.points)
    assert drawn.bound is not None
    assert drawn.bound > max(y for _, y in drawn.points)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e308])
def test_one_number_alone_is_drawn_too(value: float) -> None:
    [drawn] = curves(judged_by(Criterion()), [rung(numbers={"curve": [[0.0, value]]})])
    assert drawn.bound is None
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn.points)
