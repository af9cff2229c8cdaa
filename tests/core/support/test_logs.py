"""The log: one JSON object a line, whoever wrote it, and one line for the end of an execution."""

import logging
import os
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import Action, Context, Outcome, PermanentError, Retry, TemporaryError, service
from keptn_remedy.service import Service
from keptn_remedy.support import logs
from keptn_remedy.support.masking import Mask
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.log_lines import Line, LogLines, captured_logs
from tests.providing import event_url, settings

KEPTNS_OWN = {"timestamp", "logLevel", "keptnService", "message"}
OF_AN_EXECUTION = {
    "keptnContext",
    "execution",
    "triggeredId",
    "action",
    "project",
    "stage",
    "service",
}
FORGED = 'x"}\n{"logLevel":"ERROR","message":"forged"}\r\n\x1b[2J\x07\u2028\x85 \u202e'


@pytest.fixture
def log() -> Iterator[LogLines]:
    with captured_logs() as lines:
        yield lines


def test_a_line_is_a_superset_of_what_keptn_writes(log: LogLines) -> None:
    logs.logger().warning("something happened", number=5)
    (line,) = log.all
    assert line["logLevel"] == "WARNING"
    assert line["keptnService"] == "keptn-remedy"
    assert line["message"] == "something happened"
    assert line["number"] == 5
    assert line["timestamp"].endswith("Z")
    assert list(line)[:4] == ["timestamp", "logLevel", "keptnService", "message"]


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("info", "INFO"),
        ("warning", "WARNING"),
        ("error", "ERROR"),
        ("exception", "ERROR"),
        ("critical", "ERROR"),
    ],
)
def test_levels_are_those_that_keptn_knows(log: LogLines, method: str, level: str) -> None:
    getattr(logs.logger(), method)("something happened")
    assert [line["logLevel"] for line in log.all] == [level]


def test_what_is_less_severe_than_the_level_is_left_out() -> None:
    with captured_logs(level="warning") as log:
        logs.logger().info("left out")
        logging.getLogger("library").info("left out")
        logs.logger().warning("told")
    assert [line["message"] for line in log.all] == ["told"]


def test_libraries_are_not_heard_below_a_warning_even_when_we_debug() -> None:
    with captured_logs(level="debug") as log:
        logs.logger().debug("told")
        logging.getLogger("library").debug("left out")
    assert [line["message"] for line in log.all] == ["told"]


def test_a_librarys_record_is_a_line_like_ours(log: LogLines) -> None:
    logging.getLogger("some.library").warning("lost %s of %d", "one", 5)
    (line,) = log.all
    assert line.keys() >= KEPTNS_OWN
    assert (line["logLevel"], line["message"]) == ("WARNING", "lost one of 5")
    assert line["library"] == "some.library"


def test_a_librarys_traceback_is_one_line(log: LogLines) -> None:
    try:
        int("five")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    (line,) = log.all
    assert line["logLevel"] == "ERROR"
    assert line["exception"].endswith("base 10: 'five'")


def test_a_warning_is_a_line_like_ours(log: LogLines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will be gone", DeprecationWarning, stacklevel=1)
    (line,) = log.all
    assert line.keys() >= KEPTNS_OWN
    assert "this will be gone" in line["message"]
    assert line["library"] == "py.warnings"


def test_no_field_forges_a_line(log: LogLines) -> None:
    logs.logger().info("event ignored", reason=FORGED, nested={FORGED: [FORGED]})
    logging.getLogger("library").warning(FORGED)
    assert [line["message"] for line in log.all] == ["event ignored", FORGED]
    assert log.all[0]["reason"] == FORGED
    assert not any(byte < 32 for byte in log.raw.replace(b"\n", b""))


def test_no_field_forges_a_line_on_a_console() -> None:
    with captured_logs(log_format="console") as log:
        logs.logger().info("event ignored", reason=FORGED)
        logging.getLogger("library").warning(FORGED)
    assert log.raw.count(b"\n") == 2
    assert not any(
        ord(c) < 32 or c in "\x85\u2028\u202e" for c in log.raw.decode().replace("\n", "")
    )


STEERING = "\x1b[2J\x9b31m\x07\u202e"


class Steering:
    def __repr__(self) -> str:
        return STEERING


@pytest.mark.parametrize("value", [STEERING, Steering(), [Steering()]], ids=["text", "any", "list"])
def test_no_field_steers_a_console(value: object) -> None:
    with captured_logs(log_format="console") as log:
        logs.logger().info("event ignored", project=value, service=f"a{STEERING}b")
        logs.logger().error("failed", exc_info=ValueError(f"two\n{STEERING}"))
    assert log.raw.decode().replace("\n", "").isprintable()
    assert log.raw.count(b"\n") > 2  # a traceback keeps its lines


@pytest.mark.parametrize(
    "value", ["half a \ud800", 2**70, {"a": 2**70}, object(), b"bytes", {1, 2}]
)
def test_any_value_can_be_logged(log: LogLines, value: object) -> None:
    logs.logger().info("something happened", value=value, other="kept")
    (line,) = log.all
    assert line["message"] == "something happened"
    assert line["other"] == "kept"
    assert line["value"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_full_disk_costs_lines_and_nothing_else(log_format: logs.LogFormat) -> None:
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  closing it fails
    with captured_logs(log_format=log_format, stream=stream):
        for _ in range(1_000):
            logs.logger().error("nobody will read this")
    with suppress(OSError):
        stream.close()


def test_a_closed_pipe_costs_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    with captured_logs(stream=stream):
        logs.logger().error("nobody will read this")
    with suppress(OSError):
        stream.close()


# In the running service


class Talk(Action):
    """Ends in every way, and logs on the way there."""

    name = "talk"
    Value = str
    retry = Retry(attempts=3, first=0.001, longest=0.002)

    async def run(self, context: Context, value: str) -> Outcome:
        context.log.info("on the way", attempt=context.attempt)
        match value:
            case "temporary":
                raise TemporaryError("not now")
            case "permanent":
                raise PermanentError("never")
            case "unexpected":
                raise KeyError("what")
            case "failed":
                return Outcome.failed("did not hold")
        return Outcome.passed(value)


class Talking:
    """A provider that logs, and its Keptn."""

    def __init__(self, running: Service, keptn: FakeKeptn, log: LogLines) -> None:
        self.service = running
        self.keptn = keptn
        self.log = log

    async def run(self, value: Any, **fields: Any) -> list[Line]:
        """The lines of an execution with that value."""
        event = triggered(Talk.name, value, **fields)
        await self.keptn.deliver(event, to=event_url(self.service))
        await self.keptn.task_finished(event["id"])
        await self.service.drain()
        return [line for line in self.log.all if line.get("execution") == event["id"]]


@pytest.fixture
async def talking(tmp_path: Path, log: LogLines) -> AsyncIterator[Talking]:
    async with (
        FakeKeptn() as keptn,
        service.running(settings(tmp_path / "journal.db", keptn), registry_of(Talk)) as running,
    ):
        yield Talking(running, keptn, log)


@pytest.mark.parametrize(
    ("value", "level", "outcome", "attempts"),
    [
        ("hello", "INFO", ("succeeded", "pass", "hello"), 1),
        ("failed", "WARNING", ("succeeded", "fail", "did not hold"), 1),
        ("permanent", "WARNING", ("errored", "fail", "never"), 1),
        ("temporary", "WARNING", ("errored", "fail", "not now (after 3 attempts)"), 3),
        ("unexpected", "WARNING", ("errored", "fail", "unexpected KeyError: 'what'"), 1),
    ],
)
async def test_the_end_of_an_execution_is_one_line_that_tells_the_whole_story(
    talking: Talking, value: str, level: str, outcome: tuple[str, str, str], attempts: int
) -> None:
    lines = await talking.run(value)
    (line,) = [line for line in lines if line["message"] == "execution finished"]
    assert line["logLevel"] == level
    assert (line["status"], line["result"], line["outcome"]) == outcome
    assert line["attempts"] == attempts
    assert 0 <= line["seconds"] < 10


async def test_a_value_that_is_refused_ends_in_one_line_as_well(talking: Talking) -> None:
    (line,) = await talking.run({"no": "text"})
    assert line["message"] == "execution finished"
    assert line["outcome"].startswith("value: ")


@pytest.mark.parametrize("value", ["hello", "temporary", "permanent", "unexpected"])
async def test_every_line_of_an_execution_tells_which_one(talking: Talking, value: str) -> None:
    lines = await talking.run(value, project="sockshop", stage="production", service="carts")
    assert {line["message"] for line in lines} >= {"on the way", "execution finished"}
    for line in lines:
        assert line.keys() >= KEPTNS_OWN | OF_AN_EXECUTION
        assert line["triggeredId"] == line["execution"]
        assert (line["action"], line["project"]) == ("talk", "sockshop")
        assert (line["stage"], line["service"]) == ("production", "carts")


async def test_a_duplicate_ends_no_execution_twice(talking: Talking) -> None:
    event = triggered(Talk.name, "hello")
    for _ in range(3):
        await talking.keptn.deliver(event, to=event_url(talking.service))
    await talking.keptn.task_finished(event["id"])
    await talking.service.drain()
    assert len(talking.log.saying("execution finished")) == 1


async def test_what_an_event_brings_forges_no_line(talking: Talking) -> None:
    fields = dict.fromkeys(("project", "stage", "service"), FORGED)
    lines = await talking.run(FORGED, id=f"an id {FORGED}", **fields)
    assert {line["project"] for line in lines} == {FORGED}
    assert {line["message"] for line in talking.log.all} == {"on the way", "execution finished"}


async def test_a_report_that_is_not_delivered_tells_whose_it_is(talking: Talking) -> None:
    talking.keptn.answer_next(503)
    lines = await talking.run("hello", service="carts")
    (line,) = [line for line in lines if line["message"] == "report not delivered"]
    assert (line["logLevel"], line["report"]) == ("WARNING", "started")
    assert line.keys() >= OF_AN_EXECUTION - {"action"}


async def test_a_line_is_bytes_of_valid_utf_8_without_secrets() -> None:
    with captured_logs(Mask(["geheimnüß"])) as log:
        logs.logger().info("straße", token="geheimnüß")
    assert orjson.loads(log.raw)["message"] == "straße"
    assert "geheimnüß" not in log.raw.decode()


def test_on_the_console_service_action_and_outcome_come_first_and_ids_last() -> None:
    event = {
        "message": "execution finished",
        "timestamp": "2026-03-02T14:03:20Z",
        "execution": "1",
        "keptnContext": "2",
        "seconds": 0.5,
        "outcome": "done",
        "action": "scale",
        "stage": "production",
        "service": "carts",
    }
    line = logs._console_renderer(Mask())(None, "info", event).decode()
    assert line.split()[:2] == ["2026-03-02T14:03:20Z", "[info"]
    shown = re.findall(r"(\w+)=", re.sub(r"\x1b\[[\d;]*m", "", line))
    assert shown == [
        "service",
        "action",
        "outcome",
        "seconds",
        "stage",
        "execution",
        "keptnContext",
    ]
