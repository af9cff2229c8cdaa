"""The author's API: the two kinds of action, their context, plans and outcomes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

import orjson
from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict

from keptn_remedy.support import declarations
from keptn_remedy.support.variables import FromVariables

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from structlog.typing import FilteringBoundLogger

    from keptn_remedy.events import ActionTriggered

JSON = Any
"""Whatever JSON can hold: None, bool, int, float, str, and lists and maps of these."""


class TemporaryError(Exception):
    """A failure that another attempt may get past.

    `delay` is the time before the next attempt in seconds; None leaves it to the action's `retry`.
    """

    def __init__(self, message: str, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(Exception):
    """A failure that would repeat: the execution is finished as errored, with this message."""


class ResourceNotFound(PermanentError):
    """Keptn has no such file; uncaught, it ends the execution as `PermanentError` does."""


class Later(Exception):
    """Raised by `run` of a plain, idempotent action: call it again in so many `seconds`. Until then
    the execution rests in the journal: it takes neither a slot nor an attempt, and the next process
    goes on with it. `Context.waited` then tells the seconds for which it has waited so far.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"to be called again in {seconds:g} s")
        self.seconds = seconds


class Denied(Exception):
    """The action refuses: Keptn gets a task that is failed, not one that is errored."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of attempts, and the `first` and `longest` pause between them in seconds.

    Pauses double from attempt to attempt, with full jitter.
    """

    attempts: int = 5
    first: float = 1.0
    longest: float = 30.0


def key(name: str) -> str:
    """The name of an action in the form that names are compared in: without case, `-` and `_`."""
    return name.strip().lower().replace("-", "").replace("_", "")


Status = Literal["succeeded", "errored"]
Result = Literal["pass", "warning", "fail"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended, in Keptn's terms (docs/keptn.md#k15).

    `details` are sent to Keptn under `data.remedy`, as text and maps of text; those of another task
    than `action` under `data.<task>`, as they are. Put no secrets there.
    """

    status: Status
    result: Result
    message: str
    details: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    @classmethod
    def passed(cls, message: str, **details: JSON) -> Outcome:
        """Done; the effect holds. The sequence goes on."""
        return cls("succeeded", "pass", message, details)

    @classmethod
    def warned(cls, message: str, **details: JSON) -> Outcome:
        """Done in part, within limits, or nothing was left to do. The sequence goes on."""
        return cls("succeeded", "warning", message, details)

    @classmethod
    def failed(cls, message: str, **details: JSON) -> Outcome:
        """Carried out, but the effect did not hold. By default the sequence stops."""
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
    """One field of one target, before and after. Both are absolute, so it can be applied twice."""

    target: str
    field: str
    before: JSON
    after: JSON

    @property
    def step(self) -> str:
        """The values, as `before -> after`."""
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

    `notes` say what was restricted, and turn a pass into a warning. `memo` is the action's own data
    (JSON), stored with the plan for `apply`, `verify` and `undo`. `replicas`, before and after, are
    for the guard-rails, where the changes don't show them.
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
        """The changes of its undo, the last one first."""
        return Plan(tuple(change.reversed for change in reversed(self.changes)))

    def __str__(self) -> str:
        return "; ".join((*map(str, self.changes), *self.notes)) or "nothing to change"

    def to_json(self) -> bytes:
        """The JSON that the journal stores."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> Plan:
        """The plan from what `to_json` returned."""
        raw = orjson.loads(text)
        changes = tuple(Change(**change) for change in raw["changes"])
        replicas = raw.get("replicas")
        return cls(changes, tuple(raw["notes"]), raw["memo"], tuple(replicas) if replicas else None)


def _shown(value: JSON) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Memory(Protocol):
    """A small durable store for each action, in the journal. Values are JSON."""

    async def get(self, key: str) -> JSON:
        """The value last put under the key; None if there is none."""
        ...

    async def put(self, key: str, value: JSON) -> None:
        """Store the value, on disk once this returns; None deletes the key.

        Raises:
            PermanentError: the value takes over 64 KiB as JSON, the key has over 1,024 characters,
                or it is new and the action has 10,000 keys.
        """
        ...


Level = Literal["service", "stage", "project"]
Read = Callable[["ActionTriggered", str, Level | None], Awaitable[bytes]]


async def nothing_to_read(trigger: ActionTriggered, uri: str, level: Level | None) -> bytes:
    """What `resource` does where there is no Keptn: it raises PermanentError."""
    raise PermanentError(f"there is no Keptn to read {uri} from")


ReadFolder = Callable[["ActionTriggered", str], Awaitable[Mapping[str, bytes]]]


async def no_folder_to_read(trigger: ActionTriggered, uri: str) -> Mapping[str, bytes]:
    """What `folder` does where there is no Keptn: it raises PermanentError."""
    raise PermanentError(f"there is no Keptn to read {uri} from")


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """How the files that Keptn holds are read: one by its name, or all that are in a folder."""

    one: Read = nothing_to_read
    folder: ReadFolder = no_folder_to_read


NO_FILES: Final = ReadFiles()


@dataclass(frozen=True, slots=True)
class Keptn:
    """Keptn, as an attempt may ask it."""

    trigger: ActionTriggered
    read: Read
    read_folder: ReadFolder = no_folder_to_read

    async def resource(self, uri: str, *, level: Level | None = None) -> bytes:
        """A file that Keptn holds, such as `jobs/config.yaml`: the service's, else the stage's,
        else the project's, or that of the `level` named. It is as of the trigger's commit, or the
        newest where that commit has none or Keptn doesn't know it.

        Raises:
            ResourceNotFound: there is no such file.
            TemporaryError: Keptn can't be asked now; uncaught, the attempt is repeated.
            PermanentError: it is over 1 MiB, or there is no Keptn (`REMEDY_RESOURCES_DIR`).
        """
        return await self.read(self.trigger, uri, level)

    async def folder(self, uri: str) -> Mapping[str, bytes]:
        """Every file of the service in a folder such as `charts`, or in folders inside it, by its
        whole name. They are as of the trigger's commit, or the newest where that commit has none of
        them or Keptn doesn't know it.

        Raises:
            ResourceNotFound: the service has no file there.
            TemporaryError: Keptn can't be asked now; uncaught, the attempt is repeated.
            PermanentError: they are over 100, or together over 1 MiB, or there is no Keptn
                (`REMEDY_RESOURCES_DIR`).
        """
        return await self.read_folder(self.trigger, uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an attempt may use.

    `attempt` counts from 1, and again from 1 in each step of a planned action. `deadline` is the
    Unix time in seconds after which no attempt goes on; `seconds_left` is how long that still is,
    also when the clock is set meanwhile. `http` is a shared session: an
    error status raises `TemporaryError` (429 and 5xx, with `Retry-After`) or `PermanentError`,
    unless a request says `raise_for_status=False`. So does a redirect, unless it says
    `allow_redirects=True`. `waited` is for how many seconds the execution has rested by `Later`.
    """

    trigger: ActionTriggered
    attempt: int
    deadline: float
    dry_run: bool
    http: ClientSession
    memory: Memory
    make_log: Callable[[], FilteringBoundLogger]
    left: Callable[[], float] | None = None
    read: Read = nothing_to_read
    read_folder: ReadFolder = no_folder_to_read
    waited: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative once it is over."""
        return self.left() if self.left else self.deadline - time.time()

    @property
    def keptn(self) -> Keptn:
        """Keptn's files."""
        return Keptn(self.trigger, self.read, self.read_folder)

    @property
    def log(self) -> FilteringBoundLogger:
        """A logger whose lines carry this execution's id, context, project, stage and service."""
        return self.make_log()


class ActionSettings(FromVariables):
    """An action's settings, read at start-up from `<NAME>_<FIELD>`, or from the file that
    `<NAME>_<FIELD>_FILE` names. A missing or invalid one turns the action off; the log names it.
    """

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `remedy doctor`: what was looked at, whether it is good, what was found, and what
    to do if it isn't. `is_good` is None where that can't be told.
    """

    about: str
    is_good: bool | None
    message: str
    to_do: str = ""


class NoValue(BaseModel):
    """The value of an action that takes none; any value is accepted and ignored."""


class BaseAction:
    """What both kinds of action can declare. A declaration that can't be meant raises TypeError."""

    name: ClassVar[str]
    """The `action:` of remediation.yaml; compared without case, `-` and `_`."""
    aliases: ClassVar[tuple[str, ...]] = ()
    task: ClassVar[str] = "action"
    """The task of Keptn that it carries out, such as `get-sli` or `test`. Triggers of other tasks
    than `action` name no action: the one class of that task is meant, and `name` may be left out.
    """
    subscriptions: ClassVar[tuple[str, ...]] = ()
    """Types of events that it only receives: nothing is answered. `*` stands for one part and `>`
    for the rest, as in `sh.keptn.event.*.remediation.finished`. The value is the event's `data`.
    """
    env_prefix: ClassVar[str | None] = None
    """Replaces `<NAME>_` before the settings' variable names."""
    retry: ClassVar[Retry] = Retry()
    retry_on: ClassVar[tuple[type[Exception], ...]] = ()
    """Other exceptions that count as temporary."""
    timeout: ClassVar[float] = 60.0
    """Seconds for one attempt."""
    deadline: ClassVar[float] = 300.0
    """Seconds for all attempts and their pauses."""

    Settings: ClassVar[Any] = ActionSettings
    Value: ClassVar[Any] = NoValue
    """Any type that pydantic validates. A missing value is validated as `{}`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if mistakes := list(declarations.mistakes(cls, __name__, Retry)):
            raise TypeError("; ".join(mistakes))
        if cls.task != BaseAction.task and not hasattr(cls, "name"):
            cls.name = cls.task

    def __init__(self, settings: Any = None) -> None:
        self.settings = settings

    @classmethod
    def own_spelling(cls, name: str) -> str:
        """The action's `name` or alias that `name` means; `name` itself if it is none of them."""
        return next((own for own in (cls.name, *cls.aliases) if key(own) == key(name)), name)

    def accepts(self, trigger: ActionTriggered) -> bool:
        """Whether a trigger for this class is meant for us; False leaves it to other providers,
        without an answer. It is called before the trigger is stored, and must decide at once, by
        the trigger alone.
        """
        return True

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        """What `remedy doctor` should say of it, such as whether its token has the rights it needs.
        `namespaces` are those of the cluster in which it is to act. It changes nothing.
        """
        return ()

    def close(self) -> Awaitable[None] | None:
        """Release what the action holds; called once, when the service stops."""
        return None


class Action(BaseAction, ABC):
    """A plain action: one `run`, called at least once for each trigger."""

    idempotent: ClassVar[bool] = True
    """False: a run that may have had its effect is not repeated, but finished as errored. Such a
    run was interrupted, timed out, lost its connection, or got 500, 502 or 504 from a peer."""

    @abstractmethod
    def run(self, context: Context, value: Any) -> Outcome | Awaitable[Outcome]:
        """Do the work, and return how it ended. Without `async` it is called in a thread.

        Raises:
            TemporaryError: another attempt may succeed.
            PermanentError: another attempt would fail, too.
            Denied: the action refuses.
            Later: it is to be called again after a while.
        """


class PlannedAction(BaseAction, ABC):
    """An action that plans its changes before it makes them.

    The plan is in the journal before `apply` begins. After a crash the same plan is applied again:
    its changes must be absolute or compare-and-set. A dry run stops after `plan`. Methods without
    `async` are called in a thread.
    """

    undo_on_failed_verification: ClassVar[bool] = True
    """Whether `undo` follows when `apply` fails, or when `verify` returns a failed outcome."""
    undo_when_aborted: ClassVar[bool] = False
    """Whether `undo` follows when Keptn aborts the sequence, whatever the policy says."""

    @abstractmethod
    def plan(self, context: Context, value: Any) -> Plan | Awaitable[Plan]:
        """Look, and return what would change. Relative values become absolute here.

        A plan has at most 1,000 changes and takes at most 1 MiB as JSON. A target and its field
        have at most 1,024 characters together. Larger plans are errored, and nothing is applied.
        """

    def essence(self, plan: Plan) -> JSON:
        """What of a plan an approval is bound to, and an agent's request: by default its changes.
        Leave out what differs each time though the same would be done, such as a time.
        """
        return [[each.target, each.field, each.before, each.after] for each in plan.changes]

    def is_same(self, asked: Plan, now: Plan) -> bool:
        """Whether the approval of one plan also covers the other."""
        return bool(self.essence(asked) == self.essence(now))

    @abstractmethod
    def apply(self, context: Context, plan: Plan) -> Awaitable[None] | None:
        """Make the changes; skip those that are made already."""

    @abstractmethod
    def verify(self, context: Context, plan: Plan) -> Outcome | Awaitable[Outcome]:
        """Watch until the effect holds, or return a failed outcome that says why it doesn't."""

    @abstractmethod
    def undo(self, context: Context, plan: Plan) -> str | Awaitable[str | None] | None:
        """Restore what the plan's changes say was there before.

        Called after `apply` or `verify` failed, and for finished executions, perhaps hours later.
        By then others may have changed the targets, or a later execution of ours. So undo is
        compare-and-set: it restores only what is still as the plan left it, and skips what is as
        before already. It may be called again, after a crash during the undo or after its end.

        Returns a message instead of "undone" where that would not be the whole truth: all was as
        before already, or some of several targets were left alone.

        Raises:
            Denied: nothing was touched, because every target was changed since or is gone, or
                because this can't be undone at all. Say what was found and what was expected.
            TemporaryError: another attempt may succeed.
            PermanentError: it could not be restored, and a person must look.
        """


AnyAction = Action | PlannedAction
