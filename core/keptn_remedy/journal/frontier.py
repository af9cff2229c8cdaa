"""How far the open executions were looked through, so that no look walks through a backlog."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.claims import Claims
from keptn_remedy.journal.store import Reader
from keptn_remedy.journal.values import Claimed, Execution

# What one look reads: rows from the frontier on, and lanes behind it.
MOST_ROWS, MOST_LANES = 1000, 1000
Claimable = list[tuple[str, int, Execution | None]]
BoundList = Callable[[Collection[str] | Collection[int]], Any]
ToClaimable = Callable[[Iterable[Sequence[Any]]], Claimable]


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found: how far it came, executions whose turn may have come, lanes of which it
    left one, and lanes in which others follow.
    """

    upto: int
    is_end: bool
    claimable: Claimable
    left: list[str]
    followed: set[str]


@dataclass(frozen=True, slots=True)
class Look:
    """What is read at one look, in another thread."""

    after: int
    lanes: list[str]
    is_first: bool
    limit: int
    claims: Claims[int]
    busy: set[str]
    claimable: ToClaimable
    bound_list: BoundList

    def read(self, reader: Reader) -> Found:
        """Read at most so many rows and lanes, however many executions are open."""
        heads: dict[int, str] = {}
        followed: set[str] = set()
        lanes = set(self.lanes)
        if self.is_first:
            lanes.update(lane for (lane,) in reader.execute(sql.PLANNED_LANES))
        for lane, head, second in reader.execute(sql.HEADS, (self.bound_list(lanes),)):
            if head is not None and head not in self.claims.held:
                heads[head] = lane
            if second is not None:
                followed.add(lane)
        upto, is_end = self._read_on(reader, lanes, heads, followed)
        bound = {"heads": self.bound_list(heads), "limit": self.limit}
        claimable = self.claimable(reader.execute(sql.CLAIMABLE, bound))
        for _, seq, _ in claimable:
            del heads[seq]
        return Found(upto, is_end, claimable, list(heads.values()), followed)

    def _read_on(
        self,
        reader: Reader,
        lanes: set[str],
        heads: dict[int, str],
        followed: set[str],
    ) -> tuple[int, bool]:
        """Note the first of each lane that follows; returns how far that is, and whether all."""
        upto, rows_read, room = self.after, 0, self.limit
        for seq, lane in reader.execute(sql.OPEN_AFTER, (self.after, MOST_ROWS)):
            if not room:
                return upto, False
            upto, rows_read = seq, rows_read + 1
            if seq in self.claims.held:  # one key at a time, as in another thread
                continue
            if lane in lanes or lane in self.busy:
                followed.add(lane)
                continue
            lanes.add(lane)
            heads[seq] = lane
            room -= 1
        return upto, rows_read < MOST_ROWS


class Frontier:
    """Each open execution up to the frontier is held; or its lane is `free`, and the next look asks
    for the first of that lane; or its lane is `followed`: another of it is held, and the lane is
    free once that is dropped.

    So a look costs what was done since the one before. Memory grows with what is held, not with
    what waits. Used on the event loop.
    """

    def __init__(self, claims: Claims[int], claimable: ToClaimable, bound_list: BoundList) -> None:
        """`claimable` makes executions of rows, each with its lane and seq; `bound_list` makes what
        a statement binds of a list.
        """
        self._claims = claims
        self._claimable = claimable
        self._bound_list = bound_list
        self._upto = 0
        self._free: dict[str, None] = {}
        self._followed: set[str] = set()
        # Lanes whose first is another replica's, where there are several.
        self._elsewhere: dict[str, None] = {}
        # What was cut off with a stored plan comes first.
        self._is_first = True

    @property
    def is_elsewhere(self) -> bool:
        """Whether something waits for what another replica does."""
        return bool(self._elsewhere)

    def leave(self, seq: int) -> None:
        """What was to be held is another replica's."""
        lane = self._claims.drop(seq)
        if lane is not None:
            self._elsewhere[lane] = None

    def doubt(self) -> None:
        """Look through all of it again: something may be stored that nobody knows of."""
        self._upto = 0

    def drop(self, seq: int, *, is_open: bool) -> None:
        """Hold an execution no more, if it is held."""
        lane = self._claims.drop(seq)
        if lane is not None and (lane in self._followed or (is_open and seq <= self._upto)):
            self._followed.discard(lane)
            self._free[lane] = None

    def give_up(self, lane: str) -> None:
        """What a lane was reserved for is not to be held."""
        self._claims.give_up(lane)
        if lane in self._followed:
            self._followed.discard(lane)
            self._free[lane] = None

    def look(self, limit: int) -> Look:
        """The next look. `take` or `give_back` must follow."""
        self._free |= self._elsewhere
        self._elsewhere.clear()
        lanes = list(islice(self._free, MOST_LANES))
        for lane in lanes:
            del self._free[lane]
        busy = self._claims.groups | self._free.keys()
        claims, claimable = self._claims, self._claimable
        made = claims, busy, claimable, self._bound_list
        return Look(self._upto, lanes, self._is_first, limit, *made)

    def give_back(self, look: Look) -> None:
        """The look failed."""
        self._free |= dict.fromkeys(look.lanes)

    def take(self, look: Look, found: Found) -> Claimed[Execution]:
        """Claim what the look found."""
        if self._upto == look.after:
            self._upto = found.upto
        self._is_first = False
        taken: list[Execution] = []
        left = set(found.left) | found.followed
        for lane, seq, execution in found.claimable:
            if self._claims.take_found(lane, seq):
                # What can't be read is held too: it would be found again and again.
                taken += [execution] if execution else []
            elif seq not in self._claims.held:
                left.add(lane)
        for lane in left:
            if lane in self._claims.groups:
                self._followed.add(lane)
            elif lane in found.left and len(found.claimable) < look.limit:
                self._elsewhere[lane] = None
            else:
                self._free[lane] = None
        is_left = bool(self._free or self._followed) or not found.is_end
        is_more = bool(self._free) or not found.is_end
        return Claimed(taken, is_left, due_at=0.0 if is_more else None)
