"""Everything an action author needs: the two kinds of action, their context, plans and outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import orjson
from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict

from keptn_remedy.support.variables import FromVariables

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from structlog.typing import FilteringBoundLogger

    from keptn_remedy.events import ActionTriggered

JSON = Any
"""Whatever JSON can hold: None, bool, int, float, str, and lists and maps of these."""


class TemporaryError(Exception):
    """Trying again may help.

    `delay` is the pause before the next attempt in seconds; None leaves it to the action's `retry`.
    """

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(Exception):
    """Trying again won't help: the execution is finished as errored, with this message."""


class Denied(Exception):
    """The action must not be carried out; told to Keptn as a failed, not as an errored task."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently: `first` and `longest` pause in seconds, with full jitter."""

    attempts: int = 5
    first: float = 1.0
    longest: float = 30.0


Status = Literal["succeeded", "errored"]
Result = Literal["pass", "warning", "fail"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended, in Keptn's words (design §6).

    `details` travel to Keptn under `data.remedy`, as text and maps of text; put no secrets there.
    """

    status: Status
    result: Result
    message: str
    details: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    @classmethod
    def passed(cls, message: str, **details: JSON) -> Outcome:
        """Done."""
        return cls("succeeded", "pass", message, details)

    @classmethod
    def warned(cls, message: str, **details: JSON) -> Outcome:
        """Done with restrictions: clamped, already so, or in part. The sequence goes on."""
        return cls("succeeded", "warning", message, details)

    @classmethod
    def failed(cls, message: str, **details: JSON) -> Outcome:
        """Carried out, but the effect did not hold. The sequence stops."""
        return cls("succeeded", "fail", message, details)

    @classmethod
    def errored(cls, message: str, **details: JSON) -> Outcome:
        """Could not be carried out. The sequence stops."""
        return cls("errored", "fail", message, details)

    @property
    def is_failure(self) -> bool:
        return self.result == "fail"


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one target, before and after, both absolute: applying it twice is harmless."""

    target: str
    field: str
    before: JSON
    after: JSON

    @property
    def step(self) -> str:
        """From what to what."""
        return f"{_shown(self.before)} -> {_shown(self.after)}"

    @property
    def reversed(self) -> Change:
        """The change that undoes it."""
        return Change(self.target, self.field, self.after, self.before)

    def __str__(self) -> str:
        return f"{self.target} {self.field}: {self.step}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planned action will change.

    `notes` say what was restricted and turn a pass into a warning; `memo` is the action's own
    (JSON), kept with the plan in the journal for `apply`, `verify` and `undo`. `replicas`, before
    and after, are for the guard-rails, where the changes don't say them plainly.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    memo: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    replicas: tuple[int, int] | None = None

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(change.target for change in self.changes)

    def changes_of(self, target: str | None) -> tuple[Change, ...]:
        """The changes of one target."""
        return tuple(change for change in self.changes if change.target == target)

    @property
    def reversed(self) -> Plan:
        """What undoing it changes, the last change first."""
        return Plan(tuple(change.reversed for change in reversed(self.changes)))

    def __str__(self) -> str:
        return "; ".join((*map(str, self.changes), *self.notes)) or "nothing to change"

    def to_json(self) -> bytes:
        """The form the journal keeps."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> Plan:
        """The plan that `to_json` wrote."""
        raw = orjson.loads(text)
        changes = tuple(Change(**change) for change in raw["changes"])
        replicas = raw.get("replicas")
        return cls(changes, tuple(raw["notes"]), raw["memo"], tuple(replicas) if replicas else None)


def _shown(value: JSON) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Memory(Protocol):
    """A small durable store of the action's own, kept in the journal. Values are JSON."""

    async def get(self, key: str) -> JSON:
        """The value last put under the key, or None."""
        ...

    async def put(self, key: str, value: JSON) -> None:
        """Keep the value, durably once this returns; None forgets the key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What surrounds one attempt.

    `attempt` counts from 1, for each step of a planned action anew. `deadline` is the Unix time, in
    seconds, at which all attempts are cut off. `http` is a shared session; an error status raises
    `TemporaryError` (429 and 5xx, with `Retry-After`) or `PermanentError`, unless a request says
    `raise_for_status=False`.
    """

    trigger: ActionTriggered
    attempt: int
    deadline: float
    dry_run: bool
    http: ClientSession
    memory: Memory
    make_log: Callable[[], FilteringBoundLogger]

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger whose lines carry this execution's id, context, project, stage and service."""
        return self.make_log()


class ActionSettings(FromVariables):
    """An action's settings, read at start-up from `<NAME>_<FIELD>`, or from a file that
    `<NAME>_<FIELD>_FILE` names. What is missing or wrong turns the action off, by name.
    """

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class NoValue(BaseModel):
    """The value of an action that takes none; whatever is sent is ignored."""


class BaseAction:
    """What both kinds of action may declare."""

    name: ClassVar[str]
    """The `action:` of remediation.yaml; compared without case, `-` and `_`."""
    aliases: ClassVar[tuple[str, ...]] = ()
    env_prefix: ClassVar[str | None] = None
    """Replaces `<NAME>_` before the settings' variable names."""
    retry: ClassVar[Retry] = Retry()
    retry_on: ClassVar[tuple[type[Exception], ...]] = ()
    """Further exceptions that are worth another attempt."""
    timeout: ClassVar[float] = 60.0
    """Seconds for one attempt."""
    deadline: ClassVar[float] = 300.0
    """Seconds for all attempts and their pauses."""

    Settings: ClassVar[Any] = ActionSettings
    Value: ClassVar[Any] = NoValue
    """Any type that pydantic validates. A missing value is validated as `{}`."""

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    async def close(self) -> None:
        """Called once, when the service stops."""


class Action(BaseAction, ABC):
    """A plain action: one `run`. It runs at least once per trigger."""

    idempotent: ClassVar[bool] = True
    """False: a run that may have had its effect (interrupted, timed out, connection lost, 500, 502
    or 504 from a peer) is finished as errored instead of being repeated."""

    @abstractmethod
    async def run(self, context: Context, value: Any) -> Outcome:
        """Do it.

        Raises:
            TemporaryError: to be tried again.
            PermanentError: to be finished as errored.
        """


class PlannedAction(BaseAction, ABC):
    """An action that says what it will change before it changes it.

    The plan is journaled before `apply`; after a crash the same plan is applied again, which is
    harmless because its changes are absolute or compare-and-set. A dry run stops after `plan`.
    """

    undo_on_failed_verification: ClassVar[bool] = True
    """Whether `undo` follows when `apply` fails or `verify` finds that the effect did not hold."""

    @abstractmethod
    async def plan(self, context: Context, value: Any) -> Plan:
        """Look, and say what would change. Relative wishes become absolute here."""

    def is_same(self, asked: Plan, now: Plan) -> bool:
        """Whether a person who approved one of the plans has approved the other as well."""
        return asked.changes == now.changes

    @abstractmethod
    async def apply(self, context: Context, plan: Plan) -> None:
        """Make the changes; those already made are no error."""

    @abstractmethod
    async def verify(self, context: Context, plan: Plan) -> Outcome:
        """Observe until the effect holds, or say in a failed outcome what overrode it."""

    @abstractmethod
    async def undo(self, context: Context, plan: Plan) -> str | None:
        """Put back what the plan's changes say was there before.

        Called after `apply` or `verify` failed, and for finished executions, hours later: somebody
        else may have changed the targets since, be it a later execution of ours. So it is
        compare-and-set: only what still is as the plan left it is put back. What is as it was
        before is no error. It may be called again, after a crash in its middle or after its end.

        Returns what to tell instead of "undone", where that would not be the whole truth: that it
        is as it was before, or which of several targets were left alone.

        Raises:
            Denied: nothing was touched, as every target was changed since or is gone, or as this
                can't be undone at all. Says what was found and what was expected.
            TemporaryError: to be tried again.
            PermanentError: it could not be put back, and needs a person.
        """


AnyAction = Action | PlannedAction
