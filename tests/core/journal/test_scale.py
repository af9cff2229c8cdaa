"""A long history costs the rails no more than a short one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.journal import Alike
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.bounds import Bounds
from keptn_remedy.journal.effects import SqlHistory, executions
from keptn_remedy.journal.sqlite import SqliteJournal

ROWS = 200_000
TARGETS = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_every_question_to_the_past_goes_by_an_index_that_time_bounds(path: Path) -> None:
    await SqliteJournal.open(path).close()
    bounded = "effects_{} ({}admitted_at>?)"
    counts = {
        ("target",): bounded.format("of_target", "target=? AND "),
        ("action", "target"): bounded.format("of_target", "target=? AND "),
        ("action",): bounded.format("of_action", "action=? AND "),
        ("project", "stage", "service"): bounded.format("of_stage", "project=? AND stage=? AND "),
    }
    expected = {
        **{f"SELECT count(*) {executions(alike)}": index for alike, index in counts.items()},
        **{
            f"SELECT admitted_at {executions(alike)} ORDER BY admitted_at": index
            for alike, index in counts.items()
        },
        sql.OF_STAGE: bounded.format("of_stage", "project=? AND stage=? AND "),
        sql.DISTINCT["target"]: bounded.format("of_stage", "project=? AND stage=? AND "),
        sql.DISTINCT["service"]: bounded.format("of_stage", "project=? AND stage=? AND "),
        sql.LAST: "effects_of_target (target=?)",
        sql.OF_ACTION: "effects_of_target (target=?)",
        sql.IS_JUDGED: "effects_of_target (target=? AND admitted_at>?)",
        sql.END_EFFECTS: "PRIMARY KEY (execution=?)",
    }
    with closing(sqlite3.connect(path)) as connection:
        for look, index in expected.items():
            steps = plan_of(connection, look)
            assert any(index in step for step in steps), (look, steps)
            assert not any(step.startswith("SCAN effects") for step in steps), (look, steps)
            assert not any("ORDER BY" in step for step in steps), (look, steps)
        assert any("effects_running" in step for step in plan_of(connection, sql.UNSETTLED))
        assert any("(settled_at>?)" in step for step in plan_of(connection, sql.UNSETTLED))


async def test_how_undos_ended_is_looked_up_for_the_listed_executions_alone(path: Path) -> None:
    await SqliteJournal.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        for look in (sql.RECORDS, sql.OPEN_RECORDS, sql.RECORDS_AFTER, sql.WHOLE):
            steps = plan_of(connection, look)
            assert "SEARCH undos USING PRIMARY KEY (execution=?)" in steps, (look, steps)
            assert not any(step.startswith("SCAN") for step in steps), (look, steps)


def plan_of(connection: sqlite3.Connection, look: str) -> list[str]:
    bound: tuple[int, ...] = (1,) * 9
    while True:
        try:
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {look}", bound)]
        except sqlite3.ProgrammingError:  # fewer are wanted
            bound = bound[:-1]


async def test_a_long_history_costs_no_question_more(path: Path) -> None:
    await SqliteJournal.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        fill(connection, ROWS)
        steps = Steps(connection)
        recent = float(ROWS - 100)
        history = SqlHistory(connection.cursor(), 0.0, Bounds(), is_paused=True)
        of_stage = Alike(project="sockshop", stage="prod")
        questions: dict[str, Callable[[], object]] = {
            "target": lambda: history.count(recent, Alike(target="target 7")),
            "target and action": lambda: history.count(recent, Alike("target 7", "wait")),
            "action": lambda: history.count(recent, Alike(action="wait")),
            "stage": lambda: history.count(recent, of_stage),
            "service": lambda: history.count(recent, of_stage._replace(service="carts")),
            "last": lambda: history.last("target 7"),
            "last of none": lambda: history.last("never touched"),
            "effects": lambda: history.effects(recent, "sockshop", "prod"),
            "distinct": lambda: history.distinct("target", recent, "sockshop", "prod"),
            "streak": lambda: history.streak("wait", "target 7", "new"),
            "unsettled": lambda: history.unsettled(ROWS + 1),
        }
        taken = {name: steps.of(ask) for name, ask in questions.items()}
        passing_by = steps.of(lambda: history.streak("scale", "target 7", "new"))
    # A row costs about ten instructions of SQLite; the window holds a hundred.
    assert max(taken.values()) < 3_000, taken
    # What other actions did to this target is passed by, without looking at their rows.
    assert passing_by < 10 * ROWS / TARGETS


def fill(connection: sqlite3.Connection, rows: int) -> None:
    """Effects that ended, one a second, on each target in turn."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(
        "INSERT INTO effects (execution, target, action, project, stage, service, context, planned,"
        " settle, leads, admitted_at, ended_at, settled_at, judged)"
        " WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
        " SELECT n, 'target ' || (n % ?), 'wait', 'sockshop', 'prod', 'carts', n, 1, 60, 1, n, n,"
        " n + 60, 'failed' FROM n",
        (rows, TARGETS),
    )


class Steps:
    """Counts the instructions that SQLite carries out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.taken = 0
        connection.set_progress_handler(self._count, 1)

    def _count(self) -> int:
        self.taken += 1
        return 0

    def of(self, ask: Callable[[], object]) -> int:
        before = self.taken
        ask()
        return self.taken - before
