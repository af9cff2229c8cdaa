"""What rails are going to ask about the past, known before the transaction that admits."""

from __future__ import annotations

from typing import Literal, NamedTuple

from keptn_remedy.journal.values import Alike

Counted = tuple[Literal["executions", "effects"], Alike]
"""What is counted, and in what that is alike."""
Kind = tuple[Literal["executions", "effects"], tuple[str, ...]]
"""What is counted, and the names of the attributes in which that is alike."""


class Count(NamedTuple):
    """What will be counted within so many seconds, for a limit."""

    counted: Counted
    within: float
    limit: int


class Foreseen(NamedTuple):
    """The questions of one admission. A journal may look all of them up beforehand, also those of
    several admissions at once; what it was not told of may be asked all the same.

    `History.last` is asked about each of the `targets`, `count` and `effects` about the `counts`,
    from `History.now` less `within` on, and `streak` about the `streaks`, each an action and a
    target. `unsettled`: whether `unsettled` is asked.

    `counted_in` is all that the effects of the admission are part of, as far as any rule counts it.
    Two admissions that have nothing of it in common can't take each other's place. `kinds` are the
    kinds that rules count: as long as they are the same, whatever is counted is in `counted_in`.
    """

    targets: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    streaks: tuple[tuple[str, str], ...] = ()
    unsettled: bool = False
    counted_in: tuple[Counted, ...] = ()
    kinds: frozenset[Kind] = frozenset()


NOTHING_FORESEEN = Foreseen()
