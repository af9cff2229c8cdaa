"""What the parts of a journal need of the database that keeps it, whichever that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from keptn_remedy.events import Report
from keptn_remedy.journal.values import Execution

T = TypeVar("T")

Bound = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Bound]


class Cursor(Protocol):
    """One transaction: what it asks and changes, in the SQL of `statements`."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """The `seq` of the row that was inserted last."""
        ...

    def execute(self, statement: str, bound: Bound = (), /) -> Cursor: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Reader(Protocol):
    """What is asked without being changed."""

    def execute(self, statement: str, bound: Bound = (), /) -> Cursor: ...


class Written(NamedTuple):
    """The rows that a change's first statement touched, the row that it inserted, and the last row
    that the change inserted.
    """

    rows: int
    first_row: int
    last_row: int


class Stored(NamedTuple):
    """The rows of an execution that was stored, and of the `started` that is owed; 0: there is
    none. `is_owned`: nothing of its lane was open anywhere, so that it is this process's.
    """

    execution: int = 0
    started: int = 0
    is_owned: bool = True


class Store(ABC):
    """A database. Its methods raise `JournalError` when it can't be used."""

    trouble: tuple[type[Exception], ...]
    """What a cursor raises when the database can't be used."""
    _make_new: tuple[str, ...] = ()
    """Statements of parts that not every journal has: they make new what lies in the future."""
    _move_times: tuple[str, ...] = ()
    """The same: they move times by so many seconds."""

    def __init__(self) -> None:
        self._find = self._event  # one object for all triggers
        # Why the next event could not be stored.
        self._unacceptable: str | None = None
        # When this process became the only one that serves.
        self._locked_at: float | None = None

    _now: Callable[[], float]

    @property
    def clock_ahead(self) -> float:
        return 0.0

    # What each event needs has a method of its own: the database may do many of one kind at once.

    @abstractmethod
    async def _insert(
        self, accepted: Mapping[str, Any], started: Mapping[str, Any] | None
    ) -> Stored:
        """Store an execution, with the `started` that is owed for it as begun; unless its id is
        known.
        """

    @abstractmethod
    async def _mark_begun(self, begin: Mapping[str, Any], started: Mapping[str, Any] | None) -> int:
        """Store that an execution begins; returns the row of the `started`, if it is owed now."""

    @abstractmethod
    async def _mark_finished(
        self,
        end: Mapping[str, Any],
        reports: Sequence[Mapping[str, Any]],
        consequences: Sequence[Statement],
    ) -> list[int] | None:
        """Store how an execution ended, and what follows from it; returns the rows of the reports.
        None: it has finished already, or an abort was noted.
        """

    @abstractmethod
    async def _mark_told(self, reports: Sequence[int], finished: Sequence[str], now: float) -> None:
        """Delete reports that Keptn has, and store when it had the `finished` of these."""

    @abstractmethod
    def _write(self, *statements: Statement) -> Awaitable[Written]:
        """Carry these out, all or none."""

    async def _write_for(self, execution: int, *statements: Statement) -> Written:
        """The same, for an execution that is this process's to act for.

        Raises:
            NotOwner: it is another's by now. Nothing was stored.
        """
        return await self._write(*statements)

    async def _write_about(self, report: int, *statements: Statement) -> Written:
        """The same, about an unsent report that is this process's to send; nothing is stored if it
        is another's by now.
        """
        return await self._write(*statements)

    @abstractmethod
    def _run(self, work: Callable[[Cursor], T]) -> Awaitable[T]:
        """Carry out a change that looks before it writes, in another thread; perhaps again."""

    @abstractmethod
    def _rehearse(self, *statements: Statement) -> Awaitable[Written]:
        """Carry these out, and take them back."""

    @abstractmethod
    async def _read(self, read: Callable[[Reader], T]) -> T:
        """Have something read, in another thread."""

    @abstractmethod
    async def _read_at_once(self, read: Callable[[Reader], T]) -> T:
        """As `_read`, with all that is read from one moment."""

    @abstractmethod
    def _event(self, execution_id: str) -> bytes:
        """The event of an execution, read in whatever thread asks."""

    @abstractmethod
    def _executions(self, look: str, bound: Bound) -> Awaitable[list[Execution]]:
        """The executions of these rows, without their bodies."""

    async def _rows(self, look: str, bound: Bound) -> list[Any]:
        return await self._read(lambda reader: reader.execute(look, bound).fetchall())

    @staticmethod
    @abstractmethod
    def _list(values: Collection[str] | Collection[int]) -> Any:
        """What a statement with `json_each` binds."""


def owed(report: Report, now: float) -> dict[str, Any]:
    """What a statement that stores a report binds."""
    return {
        "execution": report.execution,
        "kind": report.kind,
        "event": report.body,
        "now": now,
    }
