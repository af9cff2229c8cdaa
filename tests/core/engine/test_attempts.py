"""From a value to an outcome: retries, plans, verification, undo, and what is told."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
import traceback
from typing import Annotated, Any, ClassVar

import pytest
from aiohttp import ClientConnectionError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from keptn_remedy import (
    Action,
    Change,
    Context,
    Denied,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
    Retry,
    TemporaryError,
)
from keptn_remedy.action import AnyAction
from keptn_remedy.engine import attempts, memory
from keptn_remedy.engine.plans import checked_plan
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import ImpatientClock, http_peer, run_action, triggered
from tests.log_lines import captured_logs


def raising(*errors: BaseException | None, **attributes: Any) -> tuple[type[Action], list[int]]:
    """An action that raises these one after the other, then passes; and the attempts it saw."""
    attempts: list[int] = []

    class Raise(Action):
        name = "raise"

        async def run(self, context: Context, value: Any) -> Outcome:
            attempts.append(context.attempt)
            if len(attempts) <= len(errors) and (error := errors[len(attempts) - 1]):
                raise error
            return Outcome.passed("done")

    for name, value in attributes.items():
        setattr(Raise, name, value)
    return Raise, attempts


@pytest.mark.parametrize(
    "error",
    [
        TemporaryError("later"),
        TimeoutError(),
        ConnectionResetError(),
        ClientConnectionError("gone"),
    ],
)
async def test_errors_that_may_heal_are_tried_again(error: Exception) -> None:
    action, attempts = raising(error, error)
    assert await run_action(action) == Outcome.passed("done")
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize(
    "error", [PermanentError("never"), ValueError("a bug"), KeyError("a bug"), Denied("no")]
)
async def test_errors_that_will_not_heal_are_not(error: Exception) -> None:
    action, attempts = raising(error)
    outcome = await run_action(action)
    assert outcome.is_failure
    assert attempts == [1]


async def test_the_class_may_name_further_errors_to_retry() -> None:
    action, attempts = raising(KeyError("eventually consistent"), retry_on=(KeyError,))
    assert (await run_action(action)).result == "pass"
    assert attempts == [1, 2]


async def test_attempts_end_and_the_message_counts_them() -> None:
    action, attempts = raising(*[TemporaryError("down")] * 9, retry=Retry(attempts=3))
    assert await run_action(action) == Outcome.errored("down (after 3 attempts)")
    assert attempts == [1, 2, 3]


async def test_pauses_are_jittered_and_bounded() -> None:
    clock = ImpatientClock()
    action, _ = raising(*[TemporaryError("down")] * 8, retry=Retry(attempts=9, first=1, longest=4))
    await run_action(action, clock=clock)
    assert len(clock.slept) == 8
    assert all(0 <= pause <= min(4, 2**n) for n, pause in enumerate(clock.slept))
    assert len(set(clock.slept)) == 8


async def test_an_error_may_ask_for_its_own_pause() -> None:
    clock = ImpatientClock()
    action, _ = raising(TemporaryError("busy", delay=7.5))
    await run_action(action, clock=clock)
    assert clock.slept == [7.5]


async def test_no_attempt_begins_after_the_deadline() -> None:
    clock = ImpatientClock()
    action, attempts = raising(
        *[TemporaryError("down", delay=40)] * 9, deadline=100, retry=Retry(attempts=99)
    )
    outcome = await run_action(action, clock=clock)
    assert outcome.message == "down (after 3 attempts)"
    assert clock.slept == [40, 40]
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize("delay", [math.nan, math.inf])
async def test_a_pause_that_would_never_end_is_not_begun(delay: float) -> None:
    action, attempts = raising(TemporaryError("busy", delay=delay))
    assert await run_action(action, clock=Clock()) == Outcome.errored("busy")
    assert attempts == [1]


async def test_an_attempt_that_hangs_is_cut_off_and_repeated() -> None:
    class Hang(Action):
        name = "hang"
        timeout = 0.02
        retry = Retry(attempts=2)
        cancelled: ClassVar[list[int]] = []

        async def run(self, context: Context, value: Any) -> Outcome:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.append(context.attempt)
            return Outcome.passed("never")

    assert await run_action(Hang) == Outcome.errored("no end within 0.02 s (after 2 attempts)")
    assert Hang.cancelled == [1, 2]


async def test_the_last_failure_with_a_reason_outlives_attempts_that_are_cut_off() -> None:
    class Hang(Action):
        name = "hang"
        timeout = 0.02
        retry = Retry(attempts=3)

        async def run(self, context: Context, value: Any) -> Outcome:
            if context.attempt == 1:
                raise TemporaryError("the webhook does not answer")
            await asyncio.sleep(60)
            return Outcome.passed("never")

    told = "no end within 0.02 s; before that: the webhook does not answer (after 3 attempts)"
    assert await run_action(Hang) == Outcome.errored(told)


async def test_the_context_tells_the_deadline_in_unix_time() -> None:
    class Look(Action):
        name = "look"
        deadline = 50

        async def run(self, context: Context, value: Any) -> Outcome:
            return Outcome.passed("", left=context.deadline - time.time())

    outcome = await run_action(Look)
    assert 45 < float(outcome.details["left"]) <= 50


async def test_an_attempt_that_runs_is_held_by_one_coroutine_of_ours() -> None:
    names = list[str]()

    class Looks(Action):
        """Notes which coroutines await it. Thousands run at once, and each level takes memory."""

        name = "looks"

        async def run(self, context: Context, value: Any) -> Outcome:
            stack = traceback.extract_stack()
            names.extend(frame.name for frame in stack if frame.filename == attempts.__file__)
            return Outcome.passed("")

    assert (await run_action(Looks)).result == "pass"
    assert len(names) == 1


class Bounded(BaseModel):
    model_config = ConfigDict(extra="forbid")

    zone: str
    level: int = Field(1, ge=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "value.zone: is missing"),
        ({"zone": "eu", "level": 0}, "value.level: must be 1 or more"),
        ("text", "value: must be a map"),
        (
            {"zone": "eu", "Levle": 1},
            "value.Levle: there is no such field; did you mean level?",
        ),
    ],
)
async def test_a_value_the_action_cannot_use_is_errored_and_names_the_field(
    value: Any, message: str
) -> None:
    action, attempts = raising(Value=Bounded)
    assert await run_action(action, value) == Outcome.errored(message)
    assert attempts == []


@pytest.mark.parametrize("value", [None, {"foreign": "key"}])
async def test_an_action_without_a_value_ignores_what_is_sent(value: Any) -> None:
    action, _ = raising()
    assert (await run_action(action, value)).result == "pass"


async def test_a_value_may_be_a_scalar() -> None:
    class Count(Action):
        name = "count"
        Value = int

        async def run(self, context: Context, value: int) -> Outcome:
            return Outcome.passed(f"{value + 1}")

    assert (await run_action(Count, "41")).message == "42"
    assert (await run_action(Count)).status == "errored"


async def test_the_lent_session_sorts_error_statuses() -> None:
    async with http_peer() as peer:

        class Call(Action):
            name = "call"

            async def run(self, context: Context, value: Any) -> Outcome:
                async with context.http.get(peer.url):
                    return Outcome.passed("called")

        clock = ImpatientClock()
        peer.answer(503, headers={"Retry-After": "11"})
        peer.answer(429, headers={"Retry-After": "20"})
        peer.drop_next()
        assert (await run_action(Call, clock=clock)).result == "pass"
        assert len(peer.requests) == 4
        assert clock.slept[0] == 11
        peer.answer(404)
        outcome = await run_action(Call)
        assert outcome == Outcome.errored("GET 127.0.0.1 answered 404 Not Found")
        assert len(peer.requests) == 5


@pytest.mark.parametrize(
    ("answers", "headers", "attempts"),
    [
        ((503,), {"Retry-After": "0"}, 2),
        ((503,), {}, 1),
        ((429,), {}, 2),
        ((504,), {}, 1),
        ((500,), {}, 1),
        ((), {}, 1),
    ],
)
async def test_what_is_not_safe_to_repeat_is_repeated_only_if_it_cannot_have_had_its_effect(
    answers: tuple[int, ...], headers: dict[str, str], attempts: int
) -> None:
    async with http_peer() as peer:

        class Pay(Action):
            name = "pay"
            idempotent = False

            async def run(self, context: Context, value: Any) -> Outcome:
                async with context.http.post(peer.url):
                    return Outcome.passed("paid")

        if not answers:
            peer.drop_next()
        for status in answers:
            peer.answer(status, headers=headers)
        outcome = await run_action(Pay)
        assert len(peer.requests) == attempts
        assert outcome.is_failure == (attempts == 1)


async def test_what_is_not_safe_to_repeat_is_not_repeated_after_a_time_out() -> None:
    class Hang(Action):
        name = "hang"
        timeout = 0.01
        idempotent = False
        runs: ClassVar[list[int]] = []

        async def run(self, context: Context, value: Any) -> Outcome:
            self.runs.append(context.attempt)
            await asyncio.Event().wait()
            return Outcome.passed("never")

    assert (await run_action(Hang)).status == "errored"
    assert Hang.runs == [1]


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "done",
        Outcome.passed(None),  # type: ignore[arg-type]
        Outcome("failed", "error", "not Keptn's words"),  # type: ignore[arg-type]
    ],
)
async def test_an_outcome_that_keptn_could_not_be_told_is_errored(returned: Any) -> None:
    class Return(Action):
        name = "return"

        async def run(self, context: Context, value: Any) -> Outcome:
            unchecked: Outcome = returned
            return unchecked

    outcome = await run_action(Return)
    assert (outcome.status, outcome.result) == ("errored", "fail")
    assert outcome.message.startswith("unusable outcome")


async def test_details_of_any_kind_are_told() -> None:
    odd: dict[Any, Any] = {"big": 2**80, 7: {"set": {1}}, "half": "\ud800"}

    class Detail(Action):
        name = "detail"

        async def run(self, context: Context, value: Any) -> Outcome:
            return Outcome("succeeded", "pass", "done", odd)

    outcome = await run_action(Detail)
    assert outcome.result == "pass"
    assert outcome.details["big"] == str(2**80)


async def test_an_action_that_cancels_itself_is_errored_not_left_open() -> None:
    class CancelItself(Action):
        name = "cancel-itself"

        async def run(self, context: Context, value: Any) -> Outcome:
            raise asyncio.CancelledError

    assert (await run_action(CancelItself)).status == "errored"


HOSTILE = [
    (SystemExit(4), "called sys.exit(4)"),
    (SystemExit(), "called sys.exit()"),
    (KeyboardInterrupt(), "raised KeyboardInterrupt"),
    (GeneratorExit(), "raised GeneratorExit"),
    (BaseException("odd"), "raised BaseException"),
    (BaseExceptionGroup("odd", [SystemExit(4)]), "raised BaseExceptionGroup"),
]


@pytest.mark.parametrize(("error", "deed"), HOSTILE)
async def test_an_action_that_wants_to_end_the_process_ends_as_its_own_failure(
    error: BaseException, deed: str
) -> None:
    action, attempts = raising(error)
    assert await run_action(action) == Outcome.errored(f"the action {deed}")
    assert attempts == [1]


@pytest.mark.parametrize("step", ["apply", "verify"])
@pytest.mark.parametrize(("error", "deed"), HOSTILE)
async def test_what_was_applied_is_undone_whatever_a_step_raises(
    step: str, error: BaseException, deed: str
) -> None:
    Flip.misbehave = {step: [error]}
    assert await run_action(Flip) == Outcome.errored(f"the action {deed}; undone")
    assert Flip.world == {"switch": "on"}


@pytest.mark.parametrize(("error", "deed"), HOSTILE)
async def test_an_undo_that_raises_anything_is_told_most_plainly(
    error: BaseException, deed: str
) -> None:
    Flip.verdict, Flip.misbehave = Outcome.failed("overridden"), {"undo": [error]}
    assert await run_action(Flip) == Outcome.errored(f"overridden; UNDO FAILED: the action {deed}")


def exiting(*_: Any) -> Any:
    sys.exit(4)


async def test_what_was_applied_is_undone_where_a_step_is_a_property_that_exits() -> None:
    hostile = type("Hostile", (Flip,), {"verify": property(exiting)})
    assert await run_action(hostile) == Outcome.errored("the action called sys.exit(4); undone")


@pytest.mark.parametrize("name", ["timeout", "deadline", "retry", "retry_on", "run"])
async def test_a_property_that_exits_ends_as_the_action_s_own_failure(name: str) -> None:
    action, _ = raising(TemporaryError("again"))
    hostile = type("Hostile", (action,), {name: property(exiting)})
    outcome = await run_action(hostile)
    assert outcome.status == "errored"
    assert "called sys.exit(4)" in outcome.message


async def test_a_run_is_not_repeated_where_nobody_knows_whether_it_may_be() -> None:
    action, attempts = raising(ConnectionResetError())
    hostile = type("Hostile", (action,), {"idempotent": property(exiting)})
    assert (await run_action(hostile)).status == "errored"
    assert attempts == [1]


async def test_what_is_not_known_to_stay_is_undone() -> None:
    Flip.verdict = Outcome.failed("overridden")
    hostile = type("Hostile", (Flip,), {"undo_on_failed_verification": property(exiting)})
    assert await run_action(hostile) == Outcome.failed("overridden; undone")


async def test_a_validator_that_exits_ends_as_the_action_s_own_failure() -> None:
    action, attempts = raising(Value=Annotated[int, BeforeValidator(lambda value: exiting())])
    outcome = await run_action(action, 1)
    assert outcome == Outcome.errored("a validator of the action called sys.exit(4)")
    assert attempts == []


async def test_a_value_whose_schema_can_not_be_made_is_refused_by_field_all_the_same() -> None:
    class Hostile(BaseModel):
        model_config = ConfigDict(extra="forbid")

        @classmethod
        def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
            sys.exit(4)

    action, attempts = raising(Value=Hostile)
    outcome = await run_action(action, {"colour": "red"})
    assert outcome.message.startswith("value.colour: ")
    assert attempts == []


async def test_an_outcome_that_exits_when_it_is_read_is_unusable() -> None:
    class Exiting(str):
        __slots__ = ()

        def split(self, sep: Any = None, maxsplit: Any = -1) -> Any:
            sys.exit(4)

    class Return(Action):
        name = "return"

        async def run(self, context: Context, value: Any) -> Outcome:
            return Outcome.passed(Exiting("done"))

    assert await run_action(Return) == Outcome.errored("unusable outcome: sys.exit(4)")


async def test_what_an_undo_returns_may_exit_when_it_is_read() -> None:
    class Exiting:
        def __str__(self) -> str:
            return str(exiting())

    Flip.verdict, Flip.remark = Outcome.failed("overridden"), Exiting()  # type: ignore[assignment]
    assert (
        await run_action(Flip)
    ).message == "overridden; UNDO FAILED: the action called sys.exit(4)"


async def test_an_exception_that_cannot_describe_itself_is_still_told() -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no comment")

    action, _ = raising(Shy())
    assert (await run_action(action)).message == "unexpected Shy"


async def test_what_an_action_remembers_is_there_at_the_next_attempt() -> None:
    class Remember(Action):
        name = "remember"

        async def run(self, context: Context, value: Any) -> Outcome:
            seen = await context.memory.get("seen")
            await context.memory.put("seen", {"attempt": context.attempt})
            if seen is None:
                raise TemporaryError("again")
            return Outcome.passed("", seen=seen)

    assert (await run_action(Remember)).details == {"seen": {"attempt": "1"}}


async def test_a_message_becomes_one_line_of_valid_text() -> None:
    action, _ = raising(PermanentError("line one\nline two \udcff"))
    assert (await run_action(action)).message == "line one line two ?"


class Flip(PlannedAction):
    """A planned action whose every step can be told to misbehave."""

    name = "flip"
    retry = Retry(attempts=3)
    world: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[list[str]] = []
    misbehave: ClassVar[dict[str, list[BaseException]]] = {}
    verdict: ClassVar[Outcome] = Outcome.passed("flipped")
    notes: ClassVar[tuple[str, ...]] = ()
    remark: ClassVar[str | None] = None

    @classmethod
    def reset(cls, **misbehave: list[BaseException]) -> None:
        cls.world, cls.steps, cls.misbehave = {"switch": "on"}, [], misbehave
        cls.verdict, cls.notes, cls.remark = Outcome.passed("flipped"), (), None
        cls.undo_on_failed_verification = True

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if errors := self.misbehave.get(name):
            raise errors.pop(0)

    async def plan(self, context: Context, value: Any) -> Plan:
        self._step("plan")
        return Plan((Change("switch", "state", self.world["switch"], "off"),), self.notes)

    async def apply(self, context: Context, plan: Plan) -> None:
        self.world["switch"] = plan.changes[0].after
        self._step("apply")

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        self._step("verify")
        return self.verdict

    async def undo(self, context: Context, plan: Plan) -> str | None:
        self._step("undo")
        self.world["switch"] = plan.changes[0].before
        return self.remark


@pytest.fixture(autouse=True)
def _fresh_world() -> None:
    Flip.reset()


async def test_a_planned_action_plans_applies_and_verifies() -> None:
    assert await run_action(Flip) == Outcome.passed("flipped")
    assert Flip.steps == ["plan", "apply", "verify"]
    assert Flip.world == {"switch": "off"}


async def test_notes_of_a_plan_turn_a_pass_into_a_warning() -> None:
    Flip.notes = ("clamped to 50",)
    assert await run_action(Flip) == Outcome.warned("flipped (clamped to 50)")


async def test_each_step_is_retried_by_itself() -> None:
    later = TemporaryError("later")
    Flip.misbehave = {"plan": [later], "apply": [later], "verify": [later]}
    assert (await run_action(Flip)).result == "pass"
    assert Flip.steps == ["plan", "plan", "apply", "apply", "verify", "verify"]


async def test_an_effect_that_does_not_hold_is_undone_and_failed() -> None:
    Flip.verdict = Outcome.failed("overridden by someone")
    assert await run_action(Flip) == Outcome.failed("overridden by someone; undone")
    assert Flip.world == {"switch": "on"}


async def test_what_undo_says_is_told_instead_of_undone() -> None:
    Flip.verdict, Flip.remark = Outcome.failed("overridden"), "left as someone set it"
    assert await run_action(Flip) == Outcome.failed("overridden; left as someone set it")


async def test_undo_can_be_declined_by_the_class() -> None:
    Flip.verdict = Outcome.failed("overridden")
    Flip.undo_on_failed_verification = False
    assert await run_action(Flip) == Outcome.failed("overridden")
    assert "undo" not in Flip.steps


async def test_what_was_applied_in_part_is_undone() -> None:
    Flip.misbehave = {"apply": [PermanentError("half of it")]}
    assert await run_action(Flip) == Outcome.errored("half of it; undone")
    assert Flip.world == {"switch": "on"}


async def test_an_undo_that_fails_is_told_most_plainly() -> None:
    Flip.verdict = Outcome.failed("overridden")
    Flip.misbehave = {"undo": [PermanentError("locked")]}
    assert await run_action(Flip) == Outcome.errored("overridden; UNDO FAILED: locked")


async def test_a_plan_that_cannot_be_made_changes_nothing() -> None:
    Flip.misbehave = {"plan": [PermanentError("no such switch")]}
    assert await run_action(Flip) == Outcome.errored("no such switch")
    assert Flip.steps == ["plan"]


async def test_a_denied_plan_is_failed_not_errored() -> None:
    Flip.misbehave = {"plan": [Denied("over the ceiling of 50")]}
    outcome = await run_action(Flip)
    assert outcome.message == "over the ceiling of 50; the sequence stops here"
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert outcome.details == {"rail": "action", "rule": "flip"}


async def test_a_dry_run_stops_after_the_plan_and_tells_it() -> None:
    outcome = await run_action(Flip, dry_run=True)
    assert outcome.message == "dry run: switch state: on -> off"
    assert (outcome.status, outcome.result) == ("succeeded", "warning")
    assert Flip.steps == ["plan"]
    assert Flip.world == {"switch": "on"}


async def test_a_dry_run_does_not_run_plain_actions() -> None:
    action, attempts = raising()
    assert (await run_action(action, dry_run=True)).message.startswith("dry run")
    assert attempts == []


@pytest.mark.parametrize("action", [Flip, raising()[0]])
async def test_an_outcome_is_told_whatever_kind_of_action_it_is(action: type[AnyAction]) -> None:
    assert (await run_action(action)).result == "pass"


async def test_a_verification_that_says_nothing_is_undone() -> None:
    Flip.verdict = None  # type: ignore[assignment]
    outcome = await run_action(Flip)
    assert outcome.status == "errored"
    assert outcome.message.endswith("undone")
    assert Flip.world == {"switch": "on"}


async def test_a_step_that_cancels_itself_is_undone() -> None:
    Flip.misbehave = {"apply": [asyncio.CancelledError()]}
    outcome = await run_action(Flip)
    assert outcome.status == "errored"
    assert "undo" in Flip.steps


# Actions without `async`


class Sync(Action):
    """Runs in a thread, and tells which."""

    name = "sync"
    Value = Any

    def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed(f"{value} in {threading.current_thread().name}", who=context.attempt)


async def test_a_run_that_is_not_async_is_called_in_a_thread_named_after_it() -> None:
    event = triggered("sync", "done", id="e1")
    outcome = await run_action(Sync, event=event)
    assert outcome == Outcome.passed("done in sync e1", who="1")


async def test_every_step_of_a_planned_action_may_be_not_async() -> None:
    steps: list[str] = []

    class Plain(PlannedAction):
        name = "plain"

        def plan(self, context: Context, value: Any) -> Plan:
            steps.append(threading.current_thread().name.split()[0])
            return Plan((Change("switch", "state", "on", "off"),))

        def apply(self, context: Context, plan: Plan) -> None:
            steps.append("apply")

        def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.failed("overridden")

        def undo(self, context: Context, plan: Plan) -> str | None:
            return "put back"

    assert await run_action(Plain) == Outcome.failed("overridden; put back")
    assert steps == ["plain", "apply"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit(4), "the action called sys.exit(4)"),
        (PermanentError("never"), "never"),
        (StopIteration(), "unexpected RuntimeError: coroutine raised StopIteration"),
        (TemporaryError("later"), "later (after 2 attempts)"),
    ],
)
async def test_what_a_thread_raises_is_told_as_if_it_were_async(
    error: BaseException, message: str
) -> None:
    class Raise(Sync):
        retry = Retry(attempts=2)

        def run(self, context: Context, value: Any) -> Outcome:
            raise error

    assert await run_action(Raise) == Outcome.errored(message)


async def test_a_method_that_only_returns_a_coroutine_is_awaited_in_the_loop() -> None:
    class Decorated(Sync):
        def run(self, context: Context, value: Any) -> Any:
            return self._run()

        async def _run(self) -> Outcome:
            return Outcome.passed(threading.current_thread().name)

    assert (await run_action(Decorated)).message == threading.current_thread().name


async def test_no_attempt_begins_beside_a_thread_that_was_cut_off() -> None:
    class Slow(Sync):
        timeout = 0.02
        at_once: ClassVar[list[int]] = []
        busy: ClassVar[threading.Lock] = threading.Lock()

        def run(self, context: Context, value: Any) -> Outcome:
            with self.busy:
                self.at_once.append(context.attempt)
                if context.attempt == 1:
                    time.sleep(0.06)  # what a thread does can't be cut off
            return Outcome.passed("done")

    assert await run_action(Slow) == Outcome.passed("done")
    assert Slow.at_once == [1, 2]


# Texts of any length


LONG = "x" * 5_000_000


async def test_a_message_of_any_length_is_cut_with_a_mark_where_it_is_stored_and_logged() -> None:
    action, _ = raising(TemporaryError(LONG), PermanentError(LONG))
    with captured_logs() as lines:
        outcome = await run_action(action)
    assert len(outcome.message) == 2_000
    assert outcome.message.endswith("xx … (cut)")
    assert len(lines.raw) < 100_000


async def test_details_of_any_length_are_cut_with_a_mark() -> None:
    class Detail(Action):
        name = "detail"

        async def run(self, context: Context, value: Any) -> Outcome:
            return Outcome.passed("done", log=LONG, **{f"n{n}": LONG for n in range(99)})

    details = (await run_action(Detail)).details
    assert details["log"].endswith("xx … (cut)")
    assert len(str(details)) < 65_536
    assert "details were left out" in details["cut"]


async def test_a_note_of_any_length_is_cut_with_a_mark() -> None:
    Flip.notes = (LONG, "short")
    outcome = await run_action(Flip)
    assert outcome.message.endswith("xx … (cut); short)")
    assert len(outcome.message) < 600


def flips(number: int, target: str = "switch") -> tuple[Change, ...]:
    return tuple(Change(f"{target}{n}", "state", "on", "off") for n in range(number))


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan(flips(1_001)), "the plan has 1,001 changes, and may have 1,000"),
        (
            Plan(flips(1, "y" * 1_020)),
            f"a target and its field have 1,026 characters, and may have 1,024: {'y' * 92} … (cut)",
        ),
        (
            Plan((Change("switch", "state", "on", LONG),)),
            "the plan takes 4,883 KiB as JSON, and may take 1,024",
        ),
        (
            Plan((), memo={"seen": [LONG]}),
            "the plan takes 4,883 KiB as JSON, and may take 1,024",
        ),
    ],
    ids=["many changes", "a long target", "a long value", "a long memo"],
)
async def test_a_plan_that_is_too_large_changes_nothing(plan: Plan, why: str) -> None:
    class Large(Flip):
        async def plan(self, context: Context, value: Any) -> Plan:
            return plan

    assert await run_action(Large) == Outcome.errored(why)
    assert Flip.steps == []


def test_a_plan_of_a_thousand_changes_is_not_too_large() -> None:
    plan = Plan(flips(1_000), memo={"seen": "x" * 900_000})
    assert checked_plan(plan) is plan


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("seen", LONG, "the memory of seen takes 4,883 KiB as JSON, and may take 64"),
        (
            "y" * 1_025,
            1,
            f"a key of memory has 1,025 characters, and may have 1,024: {'y' * 92} … (cut)",
        ),
    ],
    ids=["a long value", "a long key"],
)
async def test_memory_that_is_too_large_is_not_stored(key: str, value: Any, why: str) -> None:
    too_large = value

    class Remember(Action):
        name = "remember"

        async def run(self, context: Context, value: Any) -> Outcome:
            await context.memory.put("seen", "x" * 60_000)
            try:
                await context.memory.put(key, too_large)
            finally:
                assert await context.memory.get("seen") == "x" * 60_000
            return Outcome.passed("done")

    assert await run_action(Remember) == Outcome.errored(why)


async def test_an_action_has_only_so_many_keys_and_may_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "MAX_KEYS", 2)

    class Remember(Action):
        name = "remember"

        async def run(self, context: Context, value: Any) -> Outcome:
            for key in ("first", "second", "first"):  # one that is there may be put again
                await context.memory.put(key, 1)
            with pytest.raises(PermanentError, match="holds 2 keys, and may hold no other"):
                await context.memory.put("third", 1)
            assert await context.memory.get("third") is None
            await context.memory.put("second", None)
            await context.memory.put("third", 1)
            return Outcome.passed("done")

    assert (await run_action(Remember)).message == "done"


NO_JSON = "the plan can't be stored as JSON: "
ENDLESS: dict[str, Any] = {}
ENDLESS["again"] = ENDLESS


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (((), "a note"), "the notes of a plan must be a tuple of text"),
        (((), (None,)), "the notes of a plan must be a tuple of text"),
        ((None,), "the changes of a plan must be a tuple of Change"),
        (("a change",), "the changes of a plan must be a tuple of Change"),
        (((Change({}, "state", 1, 2),),), "the target of a change must be text"),  # type: ignore[arg-type]
        (((), (), {"a": {1}}), f"{NO_JSON}Type is not JSON serializable: set"),
        (((), (), ENDLESS), f"{NO_JSON}Recursion limit reached"),
    ],
    ids=str,
)
async def test_a_plan_of_other_parts_is_told_in_the_author_s_words(
    plan: tuple[Any, ...], why: str
) -> None:
    class Odd(Flip):
        async def plan(self, context: Context, value: Any) -> Plan:
            return Plan(*plan)

    assert (await run_action(Odd)).message == f"unexpected TypeError: {why}"
    assert Flip.steps == []


@pytest.mark.parametrize("returned", [None, "a plan", Outcome.passed("done")])
async def test_what_is_no_plan_is_told_in_the_author_s_words(returned: Any) -> None:
    class Odd(Flip):
        async def plan(self, context: Context, value: Any) -> Plan:
            unchecked: Plan = returned
            return unchecked

    outcome = await run_action(Odd)
    kind = type(returned).__name__
    assert outcome.message == f"unexpected TypeError: plan returned {kind} instead of a Plan"
    assert Flip.steps == []


async def test_neither_a_failure_nor_the_message_of_its_undo_crowds_the_other_out() -> None:
    Flip.verdict, Flip.misbehave = Outcome.failed(LONG), {"undo": [PermanentError("y" * 9_999)]}
    message = (await run_action(Flip)).message
    assert len(message) <= 2_000
    assert "x … (cut); UNDO FAILED: yy" in message
    assert message.endswith("yy … (cut)")


class HalfDone(Action):
    """Its first attempt at each step stops half-way, and a pause comes then."""

    name = "half-done"
    attempts: ClassVar[list[int]] = []

    def run(self, context: Context, value: Any) -> Outcome:
        self.attempts.append(context.attempt)
        if context.attempt == 1:
            raise TemporaryError("half done")
        return Outcome.passed("done")


class HalfApplied(PlannedAction):
    """As `HalfDone`: `apply` and `undo` of a plan that helps nothing."""

    name = "half-applied"

    async def plan(self, context: Context, value: Any) -> Plan:
        return Plan((Change("lamp", "light", "on", "off"),))

    def apply(self, context: Context, plan: Plan) -> None:
        HalfDone({}).run(context, None)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.failed("bright")

    def undo(self, context: Context, plan: Plan) -> None:
        HalfDone({}).run(context, None)


@pytest.mark.parametrize(
    ("action", "told", "attempts"),
    [(HalfDone, "done", [1, 2]), (HalfApplied, "bright; undone", [1, 2, 1, 2])],
)
async def test_what_a_thread_has_half_done_is_ended_in_spite_of_a_pause(
    monkeypatch: pytest.MonkeyPatch, action: type[AnyAction], told: str, attempts: list[int]
) -> None:
    def paused(guard: Guard) -> Refusal | None:
        return Refusal("pause", "stop", "fire drill") if HalfDone.attempts[-1:] == [1] else None

    HalfDone.attempts.clear()
    monkeypatch.setattr(Guard, "paused", paused)
    assert (await run_action(action)).message == told
    assert HalfDone.attempts == attempts
