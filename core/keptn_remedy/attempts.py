"""From a trigger's value to an outcome: attempts and pauses, plan, verification and undo."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponseError, ClientSession
from pydantic import ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from keptn_remedy import logs
from keptn_remedy.action import (
    Action,
    AnyAction,
    Context,
    Denied,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
    Result,
    Status,
    TemporaryError,
)
from keptn_remedy.client import Uncertain, is_temporary
from keptn_remedy.clock import Clock
from keptn_remedy.events import ActionTriggered, as_text
from keptn_remedy.journal import Execution, Journal, JournalError, insist
from keptn_remedy.masking import Mask
from keptn_remedy.metrics import Metrics
from keptn_remedy.registry import Entry
from keptn_remedy.targets import Targets

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")

# An execution that brought down this many processes must not bring down the next one.
MAX_RUNS = 10
_INTERRUPTED = "interrupted by a restart, and not safe to repeat"
_PASSING = (TimeoutError, ConnectionError, ClientConnectionError, ClientPayloadError, JournalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What carrying out an execution takes."""

    journal: Journal
    http: ClientSession
    metrics: Metrics
    clock: Clock
    mask: Mask
    targets: Targets
    dry_run: bool = False

    def presentable(self, returned: object) -> Outcome:
        """What an author returned, in one line, as text, without secrets, in Keptn's vocabulary."""
        try:
            outcome = _checked(returned)
            message = self.mask.text(" ".join(outcome.message.split()))
            return replace(
                outcome, message=message, details=self.mask.value(as_text(outcome.details))
            )
        except Exception as error:  # noqa: BLE001  whatever was returned, Keptn must be told
            return Outcome.errored(self.mask.text(f"unusable outcome: {_text(error)}"))

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """What must be stored is delayed by a journal that fails, and not lost."""
        return await insist(write, self.clock.sleep)


class Attempts:
    """What one process does for one execution, until there is an outcome; `count` tells how often
    it had to try.
    """

    __slots__ = ("_deadline", "_entry", "_execution", "_means", "count")

    def __init__(self, means: Means, execution: Execution, entry: Entry | None) -> None:
        self.count = 0
        self._means = means
        self._execution = execution
        self._entry = entry
        self._deadline = 0.0

    async def outcome(self) -> Outcome:
        """Carry the execution out. Raises only CancelledError, when it is to be taken up later."""
        return self._means.presentable(await self._outcome())

    async def _outcome(self) -> object:
        entry = self._entry
        if entry is None or entry.action is None:
            return Outcome.errored(f"the action {self._trigger.action} is not switched on any more")
        if refusal := self._refused(entry.action):
            return refusal
        self._start_deadline(entry.action)
        try:
            return await self._carried_out(entry.action, _value(entry, self._trigger.value))
        except asyncio.CancelledError:
            if _may_be_repeated(entry.action):
                raise
            return Outcome.errored(_INTERRUPTED)
        except Exception as error:  # noqa: BLE001  an author's code may fail in any way
            return self._explained(error)

    def _refused(self, action: AnyAction) -> Outcome | None:
        runs = self._execution.runs
        if self._execution.unreadable:
            return Outcome.errored(f"the journal's entry is broken: {self._execution.unreadable}")
        if isinstance(action, Action) and self._means.dry_run:
            return Outcome.warned(f"dry run: {action.name} would have been run")
        if runs and not _may_be_repeated(action):
            return Outcome.errored(_INTERRUPTED)
        if runs >= MAX_RUNS:
            planned = f"; perhaps applied: {self._execution.plan}" if self._execution.plan else ""
            return Outcome.errored(f"given up: {runs} runs of it ended with a restart{planned}")
        return None

    def _carried_out(self, action: AnyAction, value: Any) -> Awaitable[Outcome]:
        if isinstance(action, PlannedAction):
            return self._planned(action, value)
        return self._attempt_until_done(action, lambda context: action.run(context, value))

    async def _planned(self, action: PlannedAction, value: Any) -> Outcome:
        if self._means.dry_run:
            return await self._dry_run(action, value)
        async with self._decided(action, value) as plan:
            if self._execution.failure:
                return await self._undone(action, plan, self._execution.failure)
            outcome = await self._applied(action, plan)
            if outcome.is_failure and action.undo_on_failed_verification:
                await self._means.insist(
                    lambda: self._means.journal.keep_failure(self._execution, outcome)
                )
                return await self._undone(action, plan, outcome)
        return _with_notes(outcome, plan)

    async def _dry_run(self, action: PlannedAction, value: Any) -> Outcome:
        if self._execution.plan:
            was = f"dry run, but an earlier run may have applied in part: {self._execution.plan}"
            return Outcome.errored(was)
        plan = await self._plan(action, value)
        return Outcome.warned(f"dry run: {plan}", plan=_described(plan))

    @asynccontextmanager
    async def _decided(self, action: PlannedAction, value: Any) -> AsyncGenerator[Plan]:
        """The plan, journaled, with its targets held: the stored one, or one made just now."""
        targets, stored = self._means.targets, self._execution.plan
        since = targets.moment()
        plan = stored or await self._plan(action, value)
        while True:
            async with targets.hold(plan.targets, self._execution.id, since) as is_stale:
                if is_stale and not stored:
                    # Others changed the targets while we planned or waited.
                    self._start_deadline(action)
                    held, since = plan.targets, targets.moment()
                    plan = await self._plan(action, value)
                    if not plan.targets <= held:
                        continue
                if not stored:
                    await self._keep(plan)
                yield plan
                return

    async def _keep(self, plan: Plan) -> None:
        journal = self._means.journal
        await self._means.insist(lambda: journal.keep_plan(self._execution, plan))

    async def _plan(self, action: PlannedAction, value: Any) -> Plan:
        return await self._attempt_until_done(action, lambda context: action.plan(context, value))

    async def _applied(self, action: PlannedAction, plan: Plan) -> Outcome:
        try:
            await self._attempt_until_done(action, lambda context: action.apply(context, plan))
            verdict = await self._attempt_until_done(
                action, lambda context: action.verify(context, plan), seconds=action.deadline
            )
            return self._means.presentable(verdict)
        except Exception as error:  # noqa: BLE001  what was applied in part must be undone
            return self._means.presentable(self._explained(error))

    async def _undone(self, action: PlannedAction, plan: Plan, failure: Outcome) -> Outcome:
        self._start_deadline(action)
        try:
            told = await self._attempt_until_done(
                action, lambda context: action.undo(context, plan)
            )
        except Exception as error:  # noqa: BLE001  the worst case must be told most plainly
            why = self._explained(error).message
            return Outcome.errored(f"{failure.message}; UNDO FAILED: {why}", **failure.details)
        return replace(failure, message=f"{failure.message}; {told or 'undone'}")

    async def _attempt_until_done(
        self,
        action: AnyAction,
        step: Callable[[Context], Awaitable[T]],
        seconds: float | None = None,
    ) -> T:
        """The step, tried again while that may help. A first success costs no retry machinery."""
        try:
            return await self._attempt(step, seconds or action.timeout, 1)
        except Exception as error:
            if not self._may_heal(error):
                raise
            failure = error
        return await self._retry(action, step, seconds or action.timeout, failure)

    async def _retry(
        self,
        action: AnyAction,
        step: Callable[[Context], Awaitable[T]],
        seconds: float,
        failure: Exception,
    ) -> T:
        failures, numbers = [failure], itertools.count(2)

        async def replay_then_attempt() -> T:
            if failures:
                raise failures.pop()
            return await self._attempt(step, seconds, next(numbers))

        enough = stop_after_attempt(action.retry.attempts)
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._may_heal),
            stop=lambda state: enough(state) or self._is_too_late(state),
            wait=self._pause,
            sleep=self._means.clock.sleep,
            before_sleep=self._note_failed_attempt,
            reraise=True,
        )
        return await retrying(replay_then_attempt)

    async def _attempt(
        self, step: Callable[[Context], Awaitable[T]], seconds: float, number: int
    ) -> T:
        self.count = max(self.count, 1)
        left = self._deadline - self._means.clock.monotonic()
        seconds = max(min(seconds, left), 0.0)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await step(self._context(number, left))
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            raise RuntimeError("the action was cancelled from within") from None
        except TimeoutError:
            if limit.expired():
                raise Uncertain(f"no end within {seconds:.3g} s") from None
            raise

    def _may_heal(self, error: BaseException) -> bool:
        # A positive list: whatever is not on it, cancellation above all, goes straight out.
        cls: Any = self._entry.cls if self._entry else Action
        if isinstance(error, cls.retry_on):
            return True
        if not _may_be_repeated(cls):
            # A lost connection, too, may have been lost after the effect.
            return isinstance(error, TemporaryError) and not isinstance(error, Uncertain)
        if isinstance(error, ClientResponseError):
            return is_temporary(error.status)
        return isinstance(error, (TemporaryError, *_PASSING))

    def _is_too_late(self, state: RetryCallState) -> bool:
        return self._means.clock.monotonic() + state.upcoming_sleep >= self._deadline

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TemporaryError) and error.delay is not None:
            return error.delay
        retry = self._entry.cls.retry if self._entry else Action.retry
        least = retry.first / 10  # full jitter may be no pause at all
        return wait_random_exponential(multiplier=retry.first, max=retry.longest, min=least)(state)

    def _note_failed_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._means.metrics.retries(self._execution.action).inc()
        self._log().warning(
            "attempt failed",
            attempt=self.count,
            error=_text(error),
            next_in_seconds=round(state.upcoming_sleep, 3),
        )
        self.count += 1

    def _explained(self, error: Exception) -> Outcome:
        """An exception as an outcome. What no author raised on purpose is logged with its place."""
        if isinstance(error, Denied):
            return Outcome.failed(_text(error))
        if isinstance(error, (TemporaryError, ClientResponseError, *_PASSING)):
            tried = f" (after {self.count} attempts)" if self.count > 1 else ""
            return Outcome.errored(f"{_text(error)}{tried}")
        if isinstance(error, PermanentError):
            return Outcome.errored(_text(error))
        self._log().error("the action failed unexpectedly", exc_info=error)
        return Outcome.errored(f"unexpected {_text(error)}")

    def _start_deadline(self, action: AnyAction) -> None:
        self._deadline = self._means.clock.monotonic() + action.deadline

    def _context(self, number: int, left: float) -> Context:
        return Context(
            trigger=self._trigger,
            attempt=number,
            deadline=self._means.clock.now() + left,
            dry_run=self._means.dry_run,
            http=self._means.http,
            memory=_Memory(self._means.journal, self._execution.action),
            make_log=self._log,
        )

    def _log(self) -> FilteringBoundLogger:
        fields = logs.execution_fields(self._trigger, self._execution.action)
        log: FilteringBoundLogger = logs.logger().bind(**fields)
        return log

    @property
    def _trigger(self) -> ActionTriggered:
        return self._execution.trigger


@dataclass(frozen=True, slots=True)
class _Memory:
    """What one action remembers."""

    journal: Journal
    action: str

    async def get(self, key: str) -> Any:
        return await self.journal.recall(self.action, key)

    async def put(self, key: str, value: Any) -> None:
        await self.journal.remember(self.action, key, value)


def _with_notes(outcome: Outcome, plan: Plan) -> Outcome:
    if outcome.result != "pass" or not plan.notes:
        return outcome
    return replace(
        outcome, result="warning", message=f"{outcome.message} ({'; '.join(plan.notes)})"
    )


def _described(plan: Plan) -> dict[str, str]:
    return {f"{change.target} {change.field}": change.step for change in plan.changes}


def _mistakes(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False, include_input=False)
    told = [
        f"{'.'.join(('value', *map(str, m['loc'])))}: {m['msg'].removeprefix('Value error, ')}"
        for m in mistakes[:5]
    ]
    return "; ".join(told)


def _value(entry: Entry, sent: Any) -> Any:
    try:
        return entry.value.validate_python({} if sent is None else sent)
    except ValidationError as error:
        raise PermanentError(_mistakes(error)) from None


def _may_be_repeated(action: AnyAction | type[AnyAction]) -> bool:
    return bool(getattr(action, "idempotent", True))


def _checked(returned: object) -> Outcome:
    if not isinstance(returned, Outcome):
        raise TypeError(f"the action returned {type(returned).__name__} instead of an Outcome")
    if returned.status not in get_args(Status) or returned.result not in get_args(Result):
        raise ValueError(f"Keptn knows no outcome {returned.status}/{returned.result}")
    if not isinstance(cast("object", returned.message), str):
        raise TypeError("the message is no text")
    return returned


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _text(error: BaseException | None) -> str:
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001  an author's exception may fail to describe itself
        return name
    if isinstance(error, TemporaryError | PermanentError | Denied):
        return said
    return f"{name}: {said}" if said else name
