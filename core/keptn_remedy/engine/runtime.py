"""What every part of the engine runs on: the journal, time, HTTP, metrics and the mask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast, get_args

from aiohttp import ClientConnectorError, ClientSession

from keptn_remedy.action import (
    NO_FILES,
    Denied,
    Outcome,
    PermanentError,
    ReadFiles,
    Result,
    Status,
    TemporaryError,
)
from keptn_remedy.engine.threads import Threads
from keptn_remedy.events import ACTION, as_text
from keptn_remedy.events.bounds import MAX_MESSAGE_CHARACTERS, bounded, shortened, task_data
from keptn_remedy.http_client import in_words
from keptn_remedy.journal import Journal, insist
from keptn_remedy.support.authored import Misbehaved, exit_call
from keptn_remedy.support.clock import Clock, TimeLimits
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.traces import Traces

T = TypeVar("T")

STATUSES, RESULTS = get_args(Status), get_args(Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The surroundings of every execution and undo. `http` is the session lent to actions; `files`
    reads Keptn's for them; without `traces` nothing is traced.
    """

    journal: Journal
    http: ClientSession
    metrics: Metrics
    clock: Clock
    mask: Mask
    files: ReadFiles = NO_FILES
    dry_run: bool = False
    threads: Threads = field(default_factory=Threads)
    limits: TimeLimits = field(default_factory=TimeLimits)
    traces: Traces | None = None

    def presentable(self, returned: object, task: str = ACTION) -> Outcome:
        """What an author returned as an outcome that Keptn understands: in one line, as text,
        without secrets, and not too long. The details of other tasks than `action` stay as they
        are.
        """
        outcome = checked(returned)
        try:
            message = self.text(outcome.message)
            details = outcome.details or {}
            if details:
                details = as_text(details) if task in (ACTION, "") else task_data(details)
                details = bounded(self.mask.value(details))
            elif message == outcome.message and type(outcome) is Outcome:
                return outcome  # it is, as it stands
            return Outcome(outcome.status, outcome.result, message, details)
        except BaseException as error:  # noqa: BLE001  whatever it was, Keptn needs an outcome
            return Outcome.errored(self.text(f"unusable outcome: {text_of(error)}"))

    def text(self, said: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
        """What an author's code said, as `presentable`."""
        # Cut after masking: half a secret would not be recognised.
        masked = self.mask.text(in_one_line(said))
        return masked if len(masked) <= most else shortened(masked, most)

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write to the journal, again and again while it fails."""
        return await insist(write, self.clock.sleep)


def in_one_line(text: str) -> str:
    """The text with each run of white space replaced by one blank."""
    return " ".join(text.split())


def checked(returned: object) -> Outcome:
    """What an author returned, if it is an outcome in Keptn's vocabulary; else an errored one."""
    try:
        return _checked(returned)
    except BaseException as error:  # noqa: BLE001  an author's values may fail in any way
        return Outcome.errored(f"unusable outcome: {text_of(error)}")


def _checked(returned: object) -> Outcome:
    if not isinstance(returned, Outcome):
        raise TypeError(f"the action returned {type(returned).__name__} instead of an Outcome")
    if returned.status not in STATUSES or returned.result not in RESULTS:
        raise ValueError(f"Keptn knows no outcome {returned.status}/{returned.result}")
    if not isinstance(cast("object", returned.message), str):
        raise TypeError("the message is not a string")
    return returned


def text_of(error: BaseException | None) -> str:
    """An error as type and message; only the message where authors raise it on purpose."""
    name = type(error).__name__
    if isinstance(error, ClientConnectorError):
        return f"{error.host}:{error.port} {in_words(error)}"
    try:
        said = str(error)
    except BaseException:  # noqa: BLE001  an author's exception may fail to describe itself
        return name
    if isinstance(error, TemporaryError | PermanentError | Denied | Misbehaved):
        return said
    if isinstance(error, SystemExit):
        return exit_call(error)
    return f"{name}: {said}" if said else name
