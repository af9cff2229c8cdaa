"""Attempts: each phase of an action, such as plan or apply, tried again while that may help."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, TypeGuard, TypeVar, cast

from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponseError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from keptn_remedy.action import (
    AnyAction,
    Context,
    Denied,
    Outcome,
    PermanentError,
    TemporaryError,
)
from keptn_remedy.engine.crew import cancelled_from_within
from keptn_remedy.engine.declared import may_be_repeated
from keptn_remedy.engine.memory import ActionMemory
from keptn_remedy.engine.runtime import Runtime, text_of
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.http_client import Uncertain, is_temporary
from keptn_remedy.journal import Execution, JournalError, NotOwner
from keptn_remedy.support import authored, logs
from keptn_remedy.support.authored import Misbehaved, deed
from keptn_remedy.support.clock import Clock, TimeLimit

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")
Phase = Callable[Concatenate[Context, ...], Awaitable[T] | T]

_PASSING = (TimeoutError, ConnectionError, ClientConnectionError, ClientPayloadError, JournalError)
# What cuts an attempt off: it says nothing about the author's code.
_CUT = (asyncio.CancelledError, TimeoutError)
MAX_CAUSE_CHARACTERS: Final = 500
CANCELLED_FROM_WITHIN: Final = "the action was cancelled from within"


class _Left:
    """The seconds until a moment. Thousands run at once, each with one: a lambda takes thrice as
    much memory.
    """

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock, self._until = clock, until

    def __call__(self) -> float:
        return self._until - self._clock.monotonic()


class _CutOff(Uncertain):
    """The attempt took too long."""


class Attempts:
    """The attempts of one execution's action in this process. `count` is how many there were."""

    __slots__ = (
        "_action",
        "_cut_off_at",
        "_deadline",
        "_execution",
        "_last_failure",
        "_may_begin",
        "_may_take",
        "_runtime",
        "_waited",
        "count",
    )

    def __init__(self, runtime: Runtime, execution: Execution, action: AnyAction) -> None:
        self.count = 0
        self._cut_off_at: float | None = None
        self._deadline: float | None = None
        self._last_failure = ""
        self._may_begin: Callable[[], None] = _always
        self._may_take = 0.0
        self._runtime = runtime
        self._execution = execution
        self._action = action
        self._waited = 0.0

    def until_done(
        self,
        phase: Phase[T],
        *given: Any,
        seconds: float | None = None,
        may_begin: Callable[[], None] | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call the phase with a context and what is given, and try again while that may help. One
        attempt may take so many seconds, by default the `timeout` of the action's class.

        A phase that had to wait for a thread begins only if `may_begin` raises nothing then. Once
        an attempt has begun, the others are not asked for.
        """
        self._last_failure = ""
        self._may_begin = (None if _is_async(phase) else may_begin) or _always
        # No coroutine of its own: thousands run at once, and each level of them takes memory.
        return self._attempt(phase, given, seconds or self._declared("timeout"), 1)

    async def _attempt(
        self, phase: Phase[T], given: tuple[Any, ...], seconds: float, number: int
    ) -> T:
        first_failure: Exception | None = None
        try:
            task, limit = asyncio.current_task(), self._begun(seconds)
            try:
                with limit if self._runtime.traces is None else self._traced(limit, phase, number):
                    if _is_async(phase):
                        returned: T = await phase(self._context(number), *given)
                        return returned
                    return await self._in_thread(phase, self._context(number), *given)
            except BaseException as error:
                if self._is_meant(error, limit, task):
                    raise
                raise self._instead_of(error) from (None if isinstance(error, _CUT) else error)
            finally:
                self._cut_off_at = None
                work = cancelled_from_within() if task and task.cancelling() else None
                if work and await work.shake_off():
                    raise Misbehaved(CANCELLED_FROM_WITHIN)
        except Exception as failure:
            # A first success, which is nearly every one, costs no retry machinery.
            if number > 1 or not self._may_heal(failure):
                raise
            first_failure = failure
        assert first_failure is not None  # noqa: S101  what succeeds has returned
        return await self._attempt_again(phase, given, seconds, first_failure)

    async def _attempt_again(
        self, phase: Phase[T], given: tuple[Any, ...], seconds: float, first_failure: Exception
    ) -> T:
        async for attempt in self._retrying(_name_of(phase)):
            with attempt:
                number = attempt.retry_state.attempt_number
                if number == 1:
                    raise first_failure
                return await self._attempt(phase, given, seconds, number)
        raise AssertionError("tenacity raises the last failure")

    def _retrying(self, phase: str) -> AsyncRetrying:
        enough = stop_after_attempt(self._declared("retry").attempts)
        return AsyncRetrying(
            retry=retry_if_exception(self._may_heal),
            stop=lambda state: enough(state) or self._is_too_late(state),
            wait=self._pause,
            sleep=self._runtime.clock.sleep,
            before_sleep=partial(self._note_failed_attempt, phase),
            reraise=True,
        )

    def _begun(self, seconds: float) -> TimeLimit:
        """The limit of an attempt that begins now, and may take so many seconds."""
        self.count = max(self.count, 1)
        if not self._runtime.journal.ownership.may_act():
            raise NotOwner
        now = self._runtime.clock.monotonic()
        self._may_take = max(min(seconds, self._last_moment() - now), 0.0)
        self._cut_off_at = now + self._may_take
        return self._runtime.limits.of(self._may_take)

    def _traced(self, limit: TimeLimit, phase: Phase[Any], number: int) -> ExitStack:
        """The limit within a span of the attempt."""
        traces, both = self._runtime.traces, ExitStack()
        assert traces  # noqa: S101  it is called only then
        span = traces.during(self._execution.trigger, _name_of(phase), attempt=number)
        both.enter_context(span)
        both.enter_context(limit)
        return both

    def _is_meant(
        self, error: BaseException, limit: TimeLimit, task: asyncio.Task[Any] | None
    ) -> bool:
        """Whether an attempt's error is to go on as it is."""
        if isinstance(error, asyncio.CancelledError):
            return _is_being_cancelled()
        if isinstance(error, TimeoutError):
            return not limit.has_expired
        if isinstance(error, (Exception, NotBegun, NotOwner)):
            return True
        # SystemExit and its like would end the process, and every other execution with it. Where
        # the loop closes, this coroutine is closed with it.
        return asyncio.current_task() is not task

    def _instead_of(self, error: BaseException) -> Exception:
        if isinstance(error, asyncio.CancelledError):
            return Misbehaved(CANCELLED_FROM_WITHIN)
        if isinstance(error, TimeoutError):
            return _CutOff(f"no end within {self._may_take:.3g} s{self._before}")
        return Misbehaved(f"the action {deed(error)}")

    async def _in_thread(self, phase: Phase[T], *given: Any) -> T:
        called = partial(phase, *given)
        name = f"{self._execution.action} {self._execution.id}"
        returned = await self._runtime.threads.call(called, name, self._ask_to_begin)
        if inspect.isawaitable(returned):  # such as a coroutine, through a decorator
            return await returned
        return returned

    def _ask_to_begin(self) -> None:
        # Asked once: what an attempt has begun, the next one ends, or it would be left half done.
        if not self._runtime.journal.ownership.may_act():  # it may have waited for a thread
            raise NotOwner
        self._may_begin()
        self._may_begin = _always

    @property
    def _before(self) -> str:
        """The last failure that had a reason: being cut off says nothing about why."""
        return f"; before that: {self._last_failure}" if self._last_failure else ""

    @property
    def overdue_seconds(self) -> float:
        """For how long an attempt has ignored that it was cut off; 0 while it is in time."""
        if self._cut_off_at is None:
            return 0.0
        return max(0.0, self._runtime.clock.monotonic() - self._cut_off_at)

    def _may_heal(self, error: BaseException) -> bool:
        # A positive list: whatever is not on it, cancellation above all, goes straight out.
        if isinstance(error, self._declared("retry_on")):
            return True
        if not may_be_repeated(self._action):
            # A lost connection, too, may have been lost after the effect.
            return isinstance(error, TemporaryError) and not isinstance(error, Uncertain)
        if isinstance(error, ClientResponseError):
            return is_temporary(error.status)
        return isinstance(error, (TemporaryError, *_PASSING))

    def _is_too_late(self, state: RetryCallState) -> bool:
        next_one = self._runtime.clock.monotonic() + state.upcoming_sleep
        return not next_one < self._last_moment()  # also where an author's pause is not a number

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TemporaryError) and error.delay is not None:
            return error.delay
        retry = self._declared("retry")
        least = retry.first / 10  # full jitter may be no pause at all
        return wait_random_exponential(multiplier=retry.first, max=retry.longest, min=least)(state)

    async def _note_failed_attempt(self, phase: str, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        cause = self._runtime.text(text_of(error), MAX_CAUSE_CHARACTERS)
        if not isinstance(error, _CutOff):
            self._last_failure = text_of(error)
        self._runtime.metrics.retries(self._execution.action).inc()
        self._log().warning(
            "attempt failed",
            attempt=self.count,
            error=self._runtime.text(text_of(error)),
            phase=phase,
            next_in_seconds=round(state.upcoming_sleep, 3),
        )
        with suppress(JournalError):  # it is for people alone
            await self._runtime.journal.note_failed_attempt(
                self._execution, phase, self.count, cause
            )
        self.count += 1

    def explained(self, error: BaseException) -> Outcome:
        """An exception as an outcome. One that no author raises on purpose is logged with its
        traceback.
        """
        if not isinstance(error, Exception):  # such as a method that is a property, and exits
            error = Misbehaved(f"the action {deed(error)}")
        if isinstance(error, Denied):
            return Outcome.failed(text_of(error))
        if isinstance(error, (TemporaryError, ClientResponseError, *_PASSING)):
            tried = f" (after {self.count} attempts)" if self.count > 1 else ""
            return Outcome.errored(f"{text_of(error)}{tried}")
        if isinstance(error, PermanentError):
            return Outcome.errored(text_of(error))
        self._log().error("the action failed unexpectedly", exc_info=error)
        if isinstance(error, Misbehaved):
            return Outcome.errored(text_of(error))
        return Outcome.errored(f"unexpected {text_of(error)}")

    def note_waited(self, seconds: float) -> None:
        """For so long the execution has rested."""
        self._waited = seconds

    def start_deadline(self) -> None:
        """Give all further attempts the `deadline` of the action's class, from now on."""
        self._deadline = self._runtime.clock.monotonic() + self._declared("deadline")

    def _last_moment(self) -> float:
        if self._deadline is None:
            self.start_deadline()
        return cast("float", self._deadline)

    def _declared(self, name: str) -> Any:
        """An attribute of the action, which may be a property of its author's."""
        try:
            return getattr(self._action, name)
        except Exception:
            raise
        except BaseException as error:
            raise Misbehaved(f"{name} of the action {deed(error)}") from error

    def _context(self, number: int) -> Context:
        clock, until = self._runtime.clock, self._last_moment()
        return Context(
            trigger=self._execution.trigger,
            attempt=number,
            deadline=clock.now() + clock.wall_ahead + until - clock.monotonic(),
            left=_Left(clock, until),
            dry_run=self._runtime.dry_run,
            http=self._runtime.http,
            memory=ActionMemory(self._runtime.journal, self._execution),
            make_log=self._log,
            read=self._runtime.files.one,
            read_folder=self._runtime.files.folder,
            waited=self._waited,
        )

    def _log(self) -> FilteringBoundLogger:
        fields = logs.execution_fields(self._execution.trigger, self._execution.action)
        log: FilteringBoundLogger = logs.logger().bind(**fields)
        return log


def _always() -> None:
    """What may begin at any time."""


def _is_async(phase: Phase[T]) -> TypeGuard[Callable[..., Awaitable[T]]]:
    function = getattr(phase, "__func__", None)
    return authored.is_async(phase) if function is None else _is_async_method(function)


@lru_cache
def _is_async_method(function: Callable[..., object]) -> bool:
    """Asked once for each method of a class, not at each attempt."""
    return authored.is_async(function)


def _name_of(phase: Phase[Any]) -> str:
    return str(getattr(phase, "__name__", "attempt"))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0 and not cancelled_from_within()
