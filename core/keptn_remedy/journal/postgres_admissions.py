"""All admissions of a batch: two round trips, behind the rows of what they are counted in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg

from keptn_remedy.action import Plan
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.bounds import NO_BOUNDS
from keptn_remedy.journal.effects import Raised, SqlHistory, decided
from keptn_remedy.journal.foreseen import Counted, Foreseen
from keptn_remedy.journal.group_commit import Change
from keptn_remedy.journal.history import History
from keptn_remedy.journal.ownership import TargetHeld
from keptn_remedy.journal.postgres_connection import PostgresConnection, execute
from keptn_remedy.journal.postgres_lookups import Lookups
from keptn_remedy.journal.postgres_owner import IS_MINE
from keptn_remedy.journal.postgres_targets import HOLD_ALL, LET_GO_ALL, SharedTargets
from keptn_remedy.journal.values import Alike, Effect

# The rows stay locked until what is decided is stored: nobody takes an execution over meanwhile.
_LOCK = f"""
SELECT seq, plan IS NOT NULL OR EXISTS (SELECT 1 FROM effects WHERE execution = seq),
    question IS NOT NULL
FROM executions WHERE seq = ANY($1::bigint[]) AND state <> 'finished' AND {IS_MINE}
ORDER BY seq FOR UPDATE"""  # noqa: S608  our names
_MAKE_SCOPES = """
INSERT INTO scopes (scope) SELECT scope FROM unnest($1::text[]) AS given(scope) ORDER BY scope
ON CONFLICT DO NOTHING"""
# What is counted comes in later statements: at READ COMMITTED each sees what was stored before it.
# Counting in the statement that locks would miss what was admitted while it waited.
_LOCK_SCOPES = "SELECT 1 FROM scopes WHERE scope = ANY($1::text[]) ORDER BY scope FOR UPDATE"
_ADD_EFFECTS = """
INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle,
    leads, admitted_at)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::boolean[], $9::float8[], $10::boolean[], $11::float8[])
ON CONFLICT DO NOTHING"""
_ALL_THAT_RUN = "running"


class Admission(NamedTuple):
    """One admission that is asked for. `stamp` gives the time of its effects."""

    execution: int
    plan: Plan | None
    effects: Sequence[Effect]
    decide: Callable[[History], Any]
    foreseen: Foreseen
    now: Callable[[], float]
    stamp: Callable[[], float]
    targets: SharedTargets


class Admissions:
    """The admissions of one batch. `ask` and `store` send what they say in a pipeline of the
    caller's, `decide` comes between them.
    """

    def __init__(self, connection: PostgresConnection, changes: list[Change]) -> None:
        self._connection = connection
        self._changes = changes
        self._given: list[Admission] = [change.bound for change in changes]
        self._lookups = Lookups(connection, self._store_effects)
        self._now = self._given[0].now()
        self._holders: dict[str, int] = {}
        self._let_go: list[int] = []
        self._effects: list[tuple[Any, ...]] = []
        self._plans: list[tuple[bytes | None, int]] = []

    def ask(self) -> None:
        """Lock the executions, their targets and scopes, then look up what will be asked."""
        seqs = sorted({each.execution for each in self._given})
        self._locked = self._send(_LOCK, [seqs])
        for each in self._given:
            self._holders |= dict.fromkeys(each.plan.targets if each.plan else (), each.execution)
        wanted = [*self._holders.values()], [*self._holders]
        self._held = self._send(HOLD_ALL, wanted) if self._holders else None
        if scopes := sorted({scope for each in self._given for scope in _scopes(each)}):
            self._send(_MAKE_SCOPES, [scopes])
            self._send(_LOCK_SCOPES, [scopes])
        self._lookups.ask((each.foreseen for each in self._given), self._now)

    def decide(self) -> None:
        """Decide each, in the order they were asked for; what is admitted counts for the next."""
        open_ones = {seq: found for seq, *found in self._locked.fetchall()}
        held = {row[0]: row[1:] for row in self._held.fetchall()} if self._held else {}
        self._lookups.take()
        is_paused = self._lookups.execute(sql.PAUSED).fetchone() is not None
        for change, given in zip(self._changes, self._given, strict=True):
            if given.execution not in open_ones:
                change.result = Raised(LookupError(f"execution {given.execution} is not open"))
                continue
            is_admitted, is_asking = open_ones[given.execution]
            change.result = None
            if is_admitted:
                continue
            said = self._elsewhere(given, held)
            if said is None:
                history = SqlHistory(self._lookups, self._now, NO_BOUNDS, is_paused=is_paused)
                said = decided(given.decide, history, (psycopg.Error,))
            if said is None:
                self._admit(given, is_asking=is_asking)
            elif given.plan:
                self._let_go.append(given.execution)
            change.result = said
        self._seen = held

    def store(self) -> None:
        """Send what was decided."""
        self._store_effects()
        for plan in self._plans:
            self._connection.execute(sql.ADMIT, plan)
        if self._let_go:
            self._send(LET_GO_ALL, [self._let_go])

    def note_stored(self) -> None:
        """It is on disk: whoever was told that a target has changed looks at it anew."""
        for target, (releases, _) in self._seen.items():
            self._given[0].targets.note(target, releases)

    def _elsewhere(self, given: Admission, held: dict[str, Any]) -> Raised | None:
        targets = given.plan.targets if given.plan else ()
        missing = [target for target in targets if target not in held]
        me = self._connection.replica
        stale = [target for target in targets if given.targets.is_stale(target, held, me)]
        if missing or stale:
            return Raised(TargetHeld(", ".join(sorted(missing or stale))))
        return None

    def _admit(self, given: Admission, *, is_asking: bool) -> None:
        stamp = given.stamp()
        self._effects += [
            (given.execution, *effect, number == 0, stamp)
            for number, effect in enumerate(given.effects)
        ]
        self._lookups.add(given.effects)
        if given.plan or is_asking:
            self._plans.append((given.plan.to_json() if given.plan else None, given.execution))

    def _store_effects(self) -> None:
        rows, self._effects = self._effects, []
        if rows:
            self._send(_ADD_EFFECTS, [list(column) for column in zip(*rows, strict=True)])

    def _send(self, statement: str, bound: Sequence[Any]) -> psycopg.RawCursor[Any]:
        cursor = self._connection.raw_cursor()
        execute(cursor, statement, bound)
        return cursor


def _scopes(given: Admission) -> list[str]:
    """The rows that whoever is counted together with this one locks, too."""
    scopes = [_scope(counted) for counted in given.foreseen.counted_in]
    if given.foreseen.unsettled or any(effect.planned for effect in given.effects):
        scopes.append(_ALL_THAT_RUN)
    return scopes


def _scope(counted: Counted) -> str:
    what, alike = counted
    values = zip(Alike._fields, alike, strict=True)
    return "\n".join([what, *(f"{name}={value}" for name, value in values if value is not None)])
