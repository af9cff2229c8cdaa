"""What the rails will ask of the history, worked out before the admitting transaction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from keptn_remedy.guardrails.matching import REMEMBERED, Resolved, Scope
from keptn_remedy.journal import Alike, Count, Counted, Foreseen, Kind


def foreseen(touched: Sequence[tuple[Scope, Resolved]], kinds: frozenset[Kind]) -> Foreseen:
    """What is asked about these targets; `kinds` are those that any rule of the policy counts."""
    each = [_foreseen(scope, rules, kinds) for scope, rules in touched]
    if len(each) == 1:
        return each[0]
    return Foreseen(
        tuple(target for one in each for target in one.targets),
        tuple(count for one in each for count in one.counts),
        tuple(streak for one in each for streak in one.streaks),
        any(one.unsettled for one in each),
        tuple(counted for one in each for counted in one.counted_in),
        kinds,
    )


@lru_cache(REMEMBERED)
def _foreseen(scope: Scope, rules: Resolved, kinds: frozenset[Kind]) -> Foreseen:
    target = scope.target or ""
    return Foreseen(
        (target,),
        _counts(scope, rules),
        () if rules.suspend_after is None else ((scope.action, target),),
        scope.planned and rules.at_once is not None,
        _counted_in(scope, kinds),
        kinds,
    )


def _counts(scope: Scope, rules: Resolved) -> tuple[Count, ...]:
    counts = [
        Count(("executions", rate.alike), rate.within_seconds, rate.executions)
        for rate in rules.at_most
    ]
    if rules.once_within is not None:
        once = Alike(scope.target, scope.action)
        counts.append(Count(("executions", once), rules.once_within, 1))
    if storm := rules.storm:
        # A plan takes the places of all its targets: it asks with a lower limit.
        stage = Alike(None, None, scope.project, scope.stage)
        counts.append(Count(("effects", stage), storm.within_seconds, storm.targets))
    return tuple(counts)


def _counted_in(scope: Scope, kinds: frozenset[Kind]) -> tuple[Counted, ...]:
    values = [(name, getattr(scope, name)) for name in Alike._fields]
    return tuple(
        [
            (what, Alike(*[v if name in names else None for name, v in values]))
            for what, names in kinds
        ]
    )
