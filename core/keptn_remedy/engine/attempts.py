"""One step of an action after the other, each tried again while that may help."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

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
from keptn_remedy.engine.runtime import Runtime, text_of
from keptn_remedy.http_client import Uncertain, is_temporary
from keptn_remedy.journal import Execution, Journal, JournalError
from keptn_remedy.support import logs

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")
Step = Callable[Concatenate[Context, ...], Awaitable[T]]

_PASSING = (TimeoutError, ConnectionError, ClientConnectionError, ClientPayloadError, JournalError)


class Attempts:
    """The attempts of one execution's action in this process; `count` tells how many it took."""

    __slots__ = ("_action", "_cut_off_at", "_deadline", "_execution", "_means", "count")

    def __init__(self, means: Runtime, execution: Execution, action: AnyAction) -> None:
        self.count = 0
        self._cut_off_at: float | None = None
        self._means = means
        self._execution = execution
        self._action = action
        self.start_deadline()

    async def until_done(
        self,
        step: Step[T],
        *given: Any,
        seconds: float | None = None,
    ) -> T:
        """The step, called with a context and what is given, tried again while that may help; one
        attempt gets so many seconds, or as many as its class says. A first success costs no retry
        machinery.
        """
        seconds = seconds or self._action.timeout
        try:
            return await self._attempt(step, given, seconds, 1)
        except Exception as error:
            if not self._may_heal(error):
                raise
            failure = error
        return await self._retry(step, given, seconds, failure)

    async def _retry(
        self,
        step: Step[T],
        given: tuple[Any, ...],
        seconds: float,
        failure: Exception,
    ) -> T:
        failures, numbers = [failure], itertools.count(2)

        async def replay_then_attempt() -> T:
            if failures:
                raise failures.pop()
            return await self._attempt(step, given, seconds, next(numbers))

        enough = stop_after_attempt(self._action.retry.attempts)
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
        self,
        step: Step[T],
        given: tuple[Any, ...],
        seconds: float,
        number: int,
    ) -> T:
        self.count = max(self.count, 1)
        left = self._deadline - self._means.clock.monotonic()
        seconds = max(min(seconds, left), 0.0)
        limit = asyncio.timeout(seconds)
        self._cut_off_at = self._means.clock.monotonic() + seconds
        try:
            async with limit:
                return await step(self._context(number, left), *given)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            raise RuntimeError("the action was cancelled from within") from None
        except TimeoutError:
            if limit.expired():
                raise Uncertain(f"no end within {seconds:.3g} s") from None
            raise
        finally:
            self._cut_off_at = None

    @property
    def overdue_seconds(self) -> float:
        """For how long an attempt has ignored that it was cut off."""
        if self._cut_off_at is None:
            return 0.0
        return max(0.0, self._means.clock.monotonic() - self._cut_off_at)

    def _may_heal(self, error: BaseException) -> bool:
        # A positive list: whatever is not on it, cancellation above all, goes straight out.
        if isinstance(error, self._action.retry_on):
            return True
        if not may_be_repeated(self._action):
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
        retry = self._action.retry
        least = retry.first / 10  # full jitter may be no pause at all
        return wait_random_exponential(multiplier=retry.first, max=retry.longest, min=least)(state)

    def _note_failed_attempt(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._means.metrics.retries(self._execution.action).inc()
        self._log().warning(
            "attempt failed",
            attempt=self.count,
            error=text_of(error),
            next_in_seconds=round(state.upcoming_sleep, 3),
        )
        self.count += 1

    def explained(self, error: Exception) -> Outcome:
        """An exception as an outcome. What no author raised on purpose is logged with its place."""
        if isinstance(error, Denied):
            return Outcome.failed(text_of(error))
        if isinstance(error, (TemporaryError, ClientResponseError, *_PASSING)):
            tried = f" (after {self.count} attempts)" if self.count > 1 else ""
            return Outcome.errored(f"{text_of(error)}{tried}")
        if isinstance(error, PermanentError):
            return Outcome.errored(text_of(error))
        self._log().error("the action failed unexpectedly", exc_info=error)
        return Outcome.errored(f"unexpected {text_of(error)}")

    def start_deadline(self) -> None:
        """Give all further attempts the time that the class says."""
        self._deadline = self._means.clock.monotonic() + self._action.deadline

    def _context(self, number: int, left: float) -> Context:
        return Context(
            trigger=self._execution.trigger,
            attempt=number,
            deadline=self._means.clock.now() + left,
            dry_run=self._means.dry_run,
            http=self._means.http,
            memory=_Memory(self._means.journal, self._execution.action),
            make_log=self._log,
        )

    def _log(self) -> FilteringBoundLogger:
        fields = logs.execution_fields(self._execution.trigger, self._execution.action)
        log: FilteringBoundLogger = logs.logger().bind(**fields)
        return log


@dataclass(frozen=True, slots=True)
class _Memory:
    """What one action remembers."""

    journal: Journal
    action: str

    async def get(self, key: str) -> Any:
        return await self.journal.recall(self.action, key)

    async def put(self, key: str, value: Any) -> None:
        await self.journal.remember(self.action, key, value)


def may_be_repeated(action: AnyAction) -> bool:
    """Whether a run that may have had its effect may be run again; plans may."""
    return bool(getattr(action, "idempotent", True))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
