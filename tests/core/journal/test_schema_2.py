"""A journal that the previous release left is read as that release read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.commands import remedy
from tests.core.journal.schema_2 import write_schema_2

TOLD = {
    "purged": "finished pass: purged shop",
    "not-found": "finished fail: POST 127.0.0.1 answered 404 Not Found",
    "undone": "finished pass: limits set: route:checkout limit: 5 -> 3",
    "armed": "finished pass: limits set: route:basket limit: 10 -> 8",
    "parked": "finished pass: purged parked",
    "asking": "started",
    "planned": "started",
    "accepted": "accepted",
    "untold": "finished pass: purged late",
}


@pytest.fixture(scope="module")
def executions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `remedy journal export` makes of the file, by id."""
    folder = tmp_path_factory.mktemp("schema_2")
    write_schema_2(folder / "journal.db")
    said = remedy(folder, "journal", "export", REMEDY_JOURNAL="journal.db")
    assert (said.code, said.err) == (0, "")
    return {found["id"]: found for found in map(json.loads, said.out.splitlines())}


def test_every_execution_is_there_in_its_order_with_its_outcome(executions: Any) -> None:
    def told(found: Any) -> str:
        ended = f" {found['result']}: {found['message']}" if found["result"] else ""
        return f"{found['state']}{ended}"

    assert list(executions) == list(TOLD)
    assert {name: told(found) for name, found in executions.items()} == TOLD


def test_a_finished_execution_keeps_its_times_and_its_trigger(executions: Any) -> None:
    purged = executions["purged"]
    times = ("accepted_at", "started_at", "finished_at", "reported_at")
    assert [purged[time].partition(".")[0] for time in times] == ["2026-01-15T03:00:00"] * 4
    assert purged["trigger"]["data"]["action"]["value"] == {"zone": "shop"}
    assert (purged["action"], purged["attempts"]) == ("purge-cache", 1)


def test_a_plan_is_kept(executions: Any) -> None:
    change = {"target": "route:search", "field": "limit", "before": 20, "after": 10}
    assert executions["planned"]["plan"] == [change]


def test_a_question_is_kept(executions: Any) -> None:
    question = executions["asking"]["question"]
    assert (question["rule"], question["default"]) == ("payment asks", "deny")
    assert question["expires_at"].startswith("2026-01-15T03:20:01")
    assert [change["after"] for change in question["plan"]] == [50]


def test_undos_are_kept(executions: Any) -> None:
    undone, armed = executions["undone"]["undo"], executions["armed"]["undo"]
    assert (undone["state"], undone["by"], undone["reason"]) == (
        "done",
        "ann",
        "the traffic is back",
    )
    assert (armed["state"], armed["on_closed"]) == ("armed", True)


def test_reports_are_kept(executions: Any) -> None:
    def told(name: str) -> list[tuple[str, str]]:
        return [(report["kind"], report["state"]) for report in executions[name]["undelivered"]]

    assert told("parked") == [("started", "parked"), ("finished", "parked")]
    assert told("untold") == [("started", "unsent"), ("finished", "unsent")]
    assert told("purged") == []
