"""Whoever blocks the event loop is named: action, execution, file and line."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.journal import Execution
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service.blocked_loop import BlockedLoop
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import registry_of
from tests.core.journals import accepted
from tests.log_lines import Line, captured_logs
from tests.waiting import until


class Sleepy(Action):
    """An action in this file: what blocks here is its code."""

    name = "wait"

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed("done")


async def noticed(
    *,
    execution_of: Callable[[Any], Execution | None] = lambda task: None,
    under_way: Iterable[Execution] = (),
) -> Line:
    """What is logged of code that blocks the loop until it is logged."""
    metrics = Metrics("test")
    watch = BlockedLoop(
        registry_of(Sleepy),
        metrics,
        execution_of,
        lambda: under_way,
        blocked_seconds=0.02,
        look_seconds=0.001,
    )
    latest = time.monotonic() + 10
    with captured_logs() as lines, watch.watched():
        while not lines.at("ERROR"):
            assert time.monotonic() < latest
        await until(lambda: bool(lines.saying("the event loop runs again")))
        (line,) = lines.at("ERROR")
    assert metrics.registry.get_sample_value("remedy_event_loop_blocked_total", {"action": "wait"})
    return line


async def test_the_execution_whose_task_blocks_is_named_with_file_and_line(
    journal: SqliteJournal,
) -> None:
    execution = await accepted(journal, "e1")
    line = await noticed(execution_of=lambda task: execution)
    assert (line["action"], line["execution"], line["file"]) == ("wait", "e1", __file__)
    source = noticed.__code__
    assert source.co_firstlineno < line["line"] < source.co_firstlineno + 30
    assert f"{__file__}:{line['line']}" in line["stack"]


async def test_a_task_that_an_action_started_is_known_by_its_file(journal: SqliteJournal) -> None:
    line = await noticed(under_way=[await accepted(journal, "e1")])
    assert (line["action"], line["execution"]) == ("wait", "e1")


class Other(Sleepy):
    """A second action in this file."""

    name = "other"


class Blocking(Sleepy):
    """Blocks in a method of its own, so that its class is in the stack."""

    name = "blocking"

    @staticmethod
    def block(is_noticed: Callable[[], bool]) -> None:
        latest = time.monotonic() + 10
        while not is_noticed():
            assert time.monotonic() < latest


async def test_of_several_actions_in_a_file_the_class_tells_which(journal: SqliteJournal) -> None:
    executions = [await accepted(journal, name) for name in ("e1", "e2")]
    under_way = [
        replace(executions[0], action="other"),
        replace(executions[1], action="blocking"),
    ]
    watch = BlockedLoop(
        registry_of(Other, Blocking),
        Metrics("test"),
        lambda task: None,
        lambda: under_way,
        blocked_seconds=0.02,
        look_seconds=0.001,
    )
    with captured_logs() as lines, watch.watched():
        Blocking.block(lambda: bool(lines.at("ERROR")))
    (line,) = lines.at("ERROR")
    assert (line["action"], line["execution"]) == ("blocking", "e2")


async def test_of_several_executions_only_the_action_is_named(journal: SqliteJournal) -> None:
    several = [await accepted(journal, name) for name in ("e1", "e2")]
    line = await noticed(under_way=several)
    assert line["action"] == "wait"
    assert "execution" not in line
