"""One execution from start to finish: whatever the action does, an outcome is told to Keptn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

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
    TemporaryError,
)
from keptn_remedy.client import is_temporary
from keptn_remedy.clock import Clock
from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.journal import Execution, Journal, JournalError, Unsent
from keptn_remedy.masking import Mask
from keptn_remedy.metrics import Metrics
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.targets import Targets

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")
ErrorLog = Literal["always", "auto", "never"]

# An execution that brought down this many processes must not bring down the next one.
MAX_RUNS = 10
JOURNAL_PAUSE_SECONDS = 1.0
_PASSING = (TimeoutError, ConnectionError, ClientConnectionError, ClientPayloadError, JournalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs executions. `tell` takes each report once it is stored."""

    journal: Journal
    registry: Registry
    replies: Replies
    tell: Callable[[Unsent], None]
    http: ClientSession
    metrics: Metrics
    clock: Clock
    mask: Mask
    targets: Targets
    dry_run: bool = False
    error_log: ErrorLog = "always"

    async def run(self, execution: Execution) -> Outcome:
        """Begin, carry out, finish. Raises only CancelledError, which leaves the execution open."""
        began = self.clock.monotonic()
        await self._begin(execution)
        run = _Run(self, execution, self.registry.find(execution.trigger.action))
        outcome = self._masked(await run.outcome())
        await self._finish(execution, outcome, run.attempts)
        self._sum_up(execution, outcome, run.attempts, self.clock.monotonic() - began)
        return outcome

    async def announce(self, execution: Execution) -> None:
        """Tell Keptn that an execution will come to its turn.

        Raises:
            JournalError: nothing was stored.
        """
        started = self.replies.started(execution.trigger, self.clock.utc())
        if unsent := await self.journal.announce(execution, started):
            self.tell(unsent)

    async def _begin(self, execution: Execution) -> None:
        started = self.replies.started(execution.trigger, self.clock.utc())
        if unsent := await self.insist(lambda: self.journal.begin(execution, started)):
            self.tell(unsent)

    async def _finish(self, execution: Execution, outcome: Outcome, attempts: int) -> None:
        reports = self._reports(execution, outcome, attempts)
        for unsent in await self.insist(
            lambda: self.journal.finish(execution, outcome, attempts, reports)
        ):
            self.tell(unsent)

    def _reports(self, execution: Execution, outcome: Outcome, attempts: int) -> list[Report]:
        trigger, now = execution.trigger, self.clock.utc()
        details = {**outcome.details, "execution": execution.id, "attempts": str(attempts)}
        finished = self.replies.finished(
            trigger,
            now,
            status=outcome.status,
            result=outcome.result,
            message=outcome.message,
            details=details,
        )
        if not self._is_logged(outcome):
            return [finished]
        text = f"{execution.action} {outcome.message} (attempts: {attempts}, {execution.id})"
        return [finished, self.replies.error_log(trigger, now, text)]

    def _is_logged(self, outcome: Outcome) -> bool:
        """Whether a log.error follows; Keptn itself logs an errored `finished` (contract §8.3)."""
        if not outcome.is_failure or self.error_log == "never":
            return False
        return self.error_log == "always" or outcome.status != "errored"

    def _masked(self, outcome: Outcome) -> Outcome:
        message = self.mask.text(" ".join(outcome.message.split()))
        return replace(outcome, message=message, details=self.mask.value(outcome.details))

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """A journal that fails delays what must be stored, and loses nothing of it."""
        while True:
            try:
                return await write()
            except JournalError:
                await self.clock.sleep(JOURNAL_PAUSE_SECONDS)

    def _sum_up(
        self, execution: Execution, outcome: Outcome, attempts: int, seconds: float
    ) -> None:
        name = execution.action
        self.metrics.finished.labels(name, outcome.status, outcome.result).inc()
        self.metrics.duration.labels(name).observe(seconds)
        log = logs.logger()
        tell = log.warning if outcome.is_failure else log.info
        tell(
            "execution finished",
            **logs.execution_fields(execution.trigger, name),
            status=outcome.status,
            result=outcome.result,
            outcome=outcome.message,
            attempts=attempts,
            seconds=round(seconds, 3),
        )


class _Run:
    """One process's go at one execution."""

    def __init__(self, runner: Runner, execution: Execution, entry: Entry | None) -> None:
        self.attempts = 0
        self._runner = runner
        self._execution = execution
        self._entry = entry
        self._deadline = 0.0

    async def outcome(self) -> Outcome:
        entry = self._entry
        if entry is None or entry.action is None:
            return Outcome.errored(f"the action {self._trigger.action} is not switched on any more")
        if refusal := self._not_again(entry.action):
            return refusal
        try:
            value = entry.value.validate_python(
                {} if self._trigger.value is None else self._trigger.value
            )
        except ValidationError as error:
            return Outcome.errored(_mistakes(error))
        self._start_deadline(entry.action)
        try:
            return await self._carried_out(entry.action, value)
        except asyncio.CancelledError:
            if isinstance(entry.action, PlannedAction) or entry.action.idempotent:
                raise
            return Outcome.errored("interrupted by a shutdown, and not safe to repeat")
        except Exception as error:  # noqa: BLE001  an author's code may fail in any way
            return self._explained(error)

    def _not_again(self, action: AnyAction) -> Outcome | None:
        runs = self._execution.runs
        if runs and isinstance(action, Action) and not action.idempotent:
            return Outcome.errored("interrupted by a restart, and not safe to repeat")
        if runs >= MAX_RUNS:
            return Outcome.errored(f"given up: {runs} runs of it ended with a restart")
        return None

    async def _carried_out(self, action: AnyAction, value: Any) -> Outcome:
        if isinstance(action, PlannedAction):
            return await self._planned(action, value)
        if self._runner.dry_run:
            return Outcome.warned(f"dry run: {action.name} would have been run")
        return await self._attempt_until_done(action, lambda context: action.run(context, value))

    async def _planned(self, action: PlannedAction, value: Any) -> Outcome:
        plan = self._execution.plan
        if plan is None and self._runner.dry_run:
            plan = await self._plan(action, value)
            return Outcome.warned(f"dry run: {plan}", plan=_described(plan))
        async with self._decided(action, value) as plan:
            if self._execution.failure:
                return await self._undone(action, plan, self._execution.failure)
            outcome = await self._applied(action, plan)
            if outcome.is_failure and action.undo_on_failed_verification:
                await self._runner.insist(
                    lambda: self._runner.journal.keep_failure(self._execution, outcome)
                )
                return await self._undone(action, plan, outcome)
        return _with_notes(outcome, plan)

    @asynccontextmanager
    async def _decided(self, action: PlannedAction, value: Any) -> AsyncIterator[Plan]:
        """The plan, journaled, with its targets held: the stored one, or one made just now."""
        stored = self._execution.plan
        plan = stored or await self._plan(action, value)
        while True:
            async with self._runner.targets.hold(plan.targets) as waited:
                if waited and not stored:
                    # Others changed the targets meanwhile.
                    self._start_deadline(action)
                    held, plan = plan.targets, await self._plan(action, value)
                    if not plan.targets <= held:
                        continue
                if not stored:
                    await self._keep(plan)
                yield plan
                return

    async def _keep(self, plan: Plan) -> None:
        journal = self._runner.journal
        await self._runner.insist(lambda: journal.keep_plan(self._execution, plan))

    async def _plan(self, action: PlannedAction, value: Any) -> Plan:
        return await self._attempt_until_done(action, lambda context: action.plan(context, value))

    async def _applied(self, action: PlannedAction, plan: Plan) -> Outcome:
        try:
            await self._attempt_until_done(action, lambda context: action.apply(context, plan))
            return await self._attempt_until_done(
                action, lambda context: action.verify(context, plan), seconds=action.deadline
            )
        except Exception as error:  # noqa: BLE001  what was applied in part must be undone
            return self._explained(error)

    async def _undone(self, action: PlannedAction, plan: Plan, failure: Outcome) -> Outcome:
        self._start_deadline(action)
        try:
            await self._attempt_until_done(action, lambda context: action.undo(context, plan))
        except Exception as error:  # noqa: BLE001  the worst case must be told most plainly
            why = self._explained(error).message
            return Outcome.errored(f"{failure.message}; UNDO FAILED: {why}", **failure.details)
        return replace(failure, message=f"{failure.message}; undone")

    async def _attempt_until_done(
        self,
        action: AnyAction,
        step: Callable[[Context], Awaitable[T]],
        seconds: float | None = None,
    ) -> T:
        """The step, tried again while that may help. A first success costs no retry machinery."""

        async def attempt() -> T:
            return await self._attempt(action, step, seconds or action.timeout)

        try:
            return await attempt()
        except Exception as error:
            if not self._may_heal(error):
                raise
            failures = [error]

        async def replay_then_attempt() -> T:
            if failures:
                raise failures.pop()
            return await attempt()

        enough = stop_after_attempt(action.retry.attempts)
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._may_heal),
            stop=lambda state: enough(state) or self._is_too_late(state),
            wait=self._pause,
            sleep=self._runner.clock.sleep,
            before_sleep=self._note_failed_attempt,
            reraise=True,
        )
        return await retrying(replay_then_attempt)

    async def _attempt(
        self, action: AnyAction, step: Callable[[Context], Awaitable[T]], seconds: float
    ) -> T:
        self.attempts = max(self.attempts, 1)
        left = self._deadline - self._runner.clock.monotonic()
        seconds = max(min(seconds, left), 0.0)
        try:
            async with asyncio.timeout(seconds) as limit:
                return await step(self._context(left))
        except TimeoutError:
            if limit.expired():
                raise TemporaryError(f"no end within {seconds:.3g} s") from None
            raise

    def _may_heal(self, error: BaseException) -> bool:
        # A positive list: whatever is not on it, cancellation above all, goes straight out.
        if isinstance(error, ClientResponseError):
            return is_temporary(error.status)
        retry_on = self._entry.cls.retry_on if self._entry else ()
        return isinstance(error, (TemporaryError, *_PASSING, *retry_on))

    def _is_too_late(self, state: RetryCallState) -> bool:
        return self._runner.clock.monotonic() + state.upcoming_sleep >= self._deadline

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TemporaryError) and error.delay is not None:
            return error.delay
        retry = self._entry.cls.retry if self._entry else Action.retry
        return wait_random_exponential(multiplier=retry.first, max=retry.longest)(state)

    def _note_failed_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._runner.metrics.retries.labels(self._execution.action).inc()
        self._log().warning(
            "attempt failed",
            attempt=self.attempts,
            error=_text(error),
            next_in_seconds=round(state.upcoming_sleep, 3),
        )
        self.attempts += 1

    def _explained(self, error: Exception) -> Outcome:
        """An exception as an outcome. What no author raised on purpose is logged with its place."""
        if isinstance(error, Denied):
            return Outcome.failed(str(error))
        if self._may_heal(error) or isinstance(error, ClientResponseError):
            tried = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
            return Outcome.errored(f"{_text(error)}{tried}")
        if isinstance(error, PermanentError):
            return Outcome.errored(str(error))
        self._log().error("the action failed unexpectedly", exc_info=error)
        return Outcome.errored(f"unexpected {_text(error)}")

    def _start_deadline(self, action: AnyAction) -> None:
        self._deadline = self._runner.clock.monotonic() + action.deadline

    def _context(self, left: float) -> Context:
        return Context(
            trigger=self._trigger,
            attempt=self.attempts,
            deadline=self._runner.clock.now() + left,
            dry_run=self._runner.dry_run,
            http=self._runner.http,
            memory=_Memory(self._runner.journal, self._execution.action),
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
    return {f"{c.target} {c.field}": f"{c.before!r} -> {c.after!r}" for c in plan.changes}


def _mistakes(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False, include_input=False)
    told = [
        f"{'.'.join(('value', *map(str, m['loc'])))}: {m['msg'].removeprefix('Value error, ')}"
        for m in mistakes[:5]
    ]
    return "; ".join(told)


def _text(error: BaseException | None) -> str:
    if isinstance(error, TemporaryError | PermanentError | Denied):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
