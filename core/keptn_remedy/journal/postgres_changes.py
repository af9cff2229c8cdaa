"""What each event changes on PostgreSQL: one statement for all changes of a kind in a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from keptn_remedy.journal.errors import JournalError
from keptn_remedy.journal.group_commit import Change
from keptn_remedy.journal.postgres_admissions import Admissions
from keptn_remedy.journal.postgres_connection import PostgresConnection, execute
from keptn_remedy.journal.postgres_owner import AS_REPLICA, IS_MINE, ME
from keptn_remedy.journal.store import Stored

# Nothing may begin beside what is open in its lane, whichever replica's that is. Where two store
# the first of a lane at once, the index lets in one; the other is stored anew, alone.
_INSERT = f"""
WITH given AS (
    SELECT *, row_number() OVER (PARTITION BY lane ORDER BY place) = 1 AND NOT EXISTS (
        SELECT 1 FROM executions AS other
        WHERE other.lane = given.lane AND other.state <> 'finished') AS is_free
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::float8[], $9::bytea[], $10::bytea[])
        WITH ORDINALITY AS given(id, lane, action, context, project, stage, service, now, event,
            started, place)),
stored AS (
    INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event,
        owner, state, started_at, runs)
    SELECT id, lane, action, context, project, stage, service, now, event,
        CASE WHEN is_free THEN {ME} END,
        CASE WHEN is_free AND started IS NOT NULL THEN 'started' ELSE 'accepted' END,
        CASE WHEN is_free AND started IS NOT NULL THEN now END,
        CASE WHEN is_free AND started IS NOT NULL THEN 1 ELSE 0 END
    FROM given ORDER BY place
    ON CONFLICT (id) DO NOTHING RETURNING id, seq, owner IS NOT NULL AS is_owned),
owed AS (
    INSERT INTO reports (execution, kind, event, created_at, due_at)
    SELECT id, 'started', started, now, now FROM stored JOIN given USING (id)
    WHERE started IS NOT NULL AND is_owned
    RETURNING execution, seq)
SELECT id, stored.seq, owed.seq, is_owned
FROM stored LEFT JOIN owed ON execution = id"""  # noqa: S608  our names
_INSERTED = "id", "lane", "action", "context", "project", "stage", "service", "now", "event"

# `started` is owed to what has not begun, as all parts see the executions before the update.
_BEGIN = f"""
WITH given AS (
    SELECT * FROM unnest(
        $1::bigint[], $2::float8[], $3::bigint[], $4::boolean[], $5::text[], $6::bytea[])
        AS given(seq, now, runs, is_anyones, execution, started)),
locked AS (
    SELECT seq, state, aborted FROM executions
    WHERE seq = ANY($1::bigint[]) AND state <> 'finished' AND ({IS_MINE}
        OR state = 'accepted' AND seq IN (SELECT given.seq FROM given WHERE is_anyones))
    ORDER BY seq FOR UPDATE),
begun AS (
    UPDATE executions SET state = 'started', started_at = coalesce(started_at, given.now),
        runs = executions.runs
            + CASE WHEN question IS NULL OR verdict IS NOT NULL THEN given.runs ELSE 0 END
    FROM given JOIN locked USING (seq) WHERE executions.seq = given.seq)
INSERT INTO reports (execution, kind, event, created_at, due_at)
SELECT execution, 'started', started, now, now FROM given JOIN locked USING (seq)
WHERE started IS NOT NULL AND state = 'accepted' AND aborted IS NULL
RETURNING execution, seq"""  # noqa: S608  our names

# What comes after a report that another replica still has to send is left to the next look, which
# keeps the order.
_FINISH = f"""
WITH ended AS (
    UPDATE executions SET state = 'finished', finished_at = given.now, attempts = given.attempts,
        status = given.status, result = given.result, message = given.message,
        details = given.details
    FROM unnest($1::bigint[], $2::float8[], $3::bigint[], $4::text[], $5::text[], $6::text[],
            $7::bytea[], $8::text[])
        AS given(seq, now, attempts, status, result, message, details, judged)
    WHERE executions.seq = given.seq AND state <> 'finished' AND {IS_MINE}
        AND (aborted IS NULL OR given.status = 'aborted')
    RETURNING executions.seq, given.now, given.judged),
judged AS (
    UPDATE effects SET ended_at = ended.now, settled_at = ended.now + settle, judged = ended.judged
    FROM ended
    WHERE execution = ended.seq AND ended_at IS NULL AND ended.judged IS NOT NULL),
dropped AS (
    DELETE FROM effects USING ended
    WHERE execution = ended.seq AND ended_at IS NULL AND ended.judged IS NULL),
released AS (
    UPDATE targets SET execution = NULL, releases = releases + 1, released_by = {ME}
    FROM ended WHERE targets.execution = ended.seq),
owed AS (
    INSERT INTO reports (execution, kind, event, created_at, due_at)
    SELECT execution, kind, event, given.now, given.now
    FROM unnest($9::bigint[], $10::text[], $11::text[], $12::bytea[], $13::float8[])
        WITH ORDINALITY AS given(of, execution, kind, event, now, place)
    JOIN ended ON ended.seq = of ORDER BY place
    RETURNING execution, seq)
SELECT seq, NULL, NULL FROM ended UNION ALL SELECT NULL, execution, seq FROM owed
WHERE NOT EXISTS (SELECT 1 FROM reports AS earlier WHERE earlier.execution = owed.execution
    AND earlier.state = 'unsent' AND NOT ({IS_MINE}))"""  # noqa: S608  our names
_ENDED = "seq", "now", "attempts", "status", "result", "message", "details"

_TELL = """
WITH told AS (DELETE FROM reports WHERE seq = ANY($1::bigint[]))
UPDATE executions SET reported_at = $3 WHERE id = ANY($2::text[])"""


ADMIT = "admit"
MOST_CLASHES = 3
_CLASHES = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,  # stored by another in between: the next look sees it
)


class Finish(NamedTuple):
    """An end and its reports; `judged` is what becomes of the effects, None: they go."""

    end: Mapping[str, Any]
    reports: Sequence[Mapping[str, Any]]
    judged: str | None


class Tell(NamedTuple):
    """Reports that Keptn has, and what is reported as finished by them."""

    reports: Sequence[int]
    finished: Sequence[str]
    now: float


def commit(connection: PostgresConnection, batch: list[Change]) -> None:
    """Carry them out, whole or not at all, with as few round trips as possible; again where others
    were in the way.
    """
    for _ in range(MOST_CLASHES):
        try:
            _carry_out(connection, batch)
        except _CLASHES:
            connection.rollback()
        else:
            return
    _carry_out(connection, batch)


def _carry_out(connection: PostgresConnection, batch: list[Change]) -> None:
    rounds, admitted, others = _in_rounds(batch)
    with connection.at_work():
        replica = connection.replica if connection.is_pooled else 0
        if len(rounds) == 1 and not (admitted or others or replica):
            rounds[0].settle(rounds[0].send(connection))
            return
        raw = connection.raw
        admissions = Admissions(connection, admitted) if admitted else None
        with raw.pipeline() if admissions or others else _committing(raw):
            raw.execute("BEGIN")
            if replica:  # the session is another one each time
                raw.execute(AS_REPLICA, (str(replica), True))
            sent = [(each, each.send(connection)) for each in rounds]
            if admissions and not others:
                admissions.ask()
        for each, answer in sent:
            each.settle(answer)
        cursor = connection.cursor()
        for change in others:
            change.carry_out(cursor)
        if admissions:
            _admit(connection, admissions, is_asked=not others)
        elif others:
            with _committing(raw):
                pass


def _admit(connection: PostgresConnection, admissions: Admissions, *, is_asked: bool) -> None:
    """Last in the transaction: what others count by is locked until it is stored."""
    if not is_asked:
        with connection.raw.pipeline():
            admissions.ask()
    admissions.decide()
    with _committing(connection.raw):
        admissions.store()
    admissions.note_stored()


@contextmanager
def _committing(raw: psycopg.Connection[Any]) -> Generator[None]:
    """A pipeline that ends with COMMIT. What that is answered counts: the server may end the
    connection after it; and after an error that was passed over it rolls back, and says so there
    alone.
    """
    committed = None
    try:
        with raw.pipeline():
            yield
            committed = raw.execute("COMMIT")
    except psycopg.Error:
        if committed is None or committed.statusmessage != "COMMIT":
            raise
    if committed.statusmessage != "COMMIT":
        raise JournalError("the database rolled the change back")


class _Round:
    """Changes of one kind that don't concern one another."""

    def __init__(self, kind: str, changes: list[Change]) -> None:
        self._kind = _KINDS[kind]
        self._changes = changes

    def send(self, connection: PostgresConnection) -> psycopg.RawCursor[Any]:
        bound = self._kind.bind([change.bound for change in self._changes])
        cursor = connection.raw_cursor()
        execute(cursor, self._kind.statement, bound)
        return cursor

    def settle(self, cursor: psycopg.RawCursor[Any]) -> None:
        self._kind.settle(cursor, self._changes)


class _Kind(NamedTuple):
    statement: str
    # What no two changes of one statement may have in common; None: they may have anything.
    key: Callable[[Any], Any]
    bind: Callable[[list[Any]], list[Any]]
    settle: Callable[[psycopg.RawCursor[Any], list[Change]], None]


def _in_rounds(batch: list[Change]) -> tuple[list[_Round], list[Change], list[Change]]:
    """Changes of a kind together, kind by kind; what concerns the same comes one after the other;
    then admissions, and the others. Nobody has waited for any of them yet: their order is free.
    """
    rounds: dict[tuple[str, int], list[Change]] = {}
    seen: defaultdict[tuple[str, Any], int] = defaultdict(int)
    admissions: list[Change] = []
    others: list[Change] = []
    for change in batch:
        if change.kind is None or change.kind == ADMIT:
            (admissions if change.kind else others).append(change)
            continue
        key = change.kind, _KINDS[change.kind].key(change.bound)
        rounds.setdefault((change.kind, seen[key]), []).append(change)
        seen[key] += 1
    order = sorted(rounds, key=lambda name: ([*_KINDS].index(name[0]), name[1]))
    return [_Round(kind, rounds[kind, number]) for kind, number in order], admissions, others


def _columns(given: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    return [[each[name] for each in given] for name in names]


def _bind_inserts(given: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> list[Any]:
    started = [report and report["event"] for _, report in given]
    return [*_columns([accepted for accepted, _ in given], _INSERTED), started]


def _settle_inserts(cursor: psycopg.RawCursor[Any], changes: list[Change]) -> None:
    stored = {id_: Stored(seq, report or 0, owned) for id_, seq, report, owned in cursor.fetchall()}
    for change in changes:
        change.result = stored.get(change.bound[0]["id"], Stored())


def _bind_begins(given: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> list[Any]:
    begun = _columns([begin for begin, _ in given], ("seq", "now", "runs", "is_anyones"))
    owed = [
        (report["execution"], report["event"]) if report else (None, None) for _, report in given
    ]
    return [*begun, [execution for execution, _ in owed], [event for _, event in owed]]


def _settle_begins(cursor: psycopg.RawCursor[Any], changes: list[Change]) -> None:
    owed = dict(cursor.fetchall())
    for change in changes:
        report = change.bound[1]
        change.result = owed.get(report["execution"], 0) if report else 0


def _bind_finishes(given: list[Finish]) -> list[Any]:
    ended = _columns([finish.end for finish in given], _ENDED)
    owed = [{**report, "seq": each.end["seq"]} for each in given for report in each.reports]
    reports = _columns(owed, ("seq", "execution", "kind", "event", "now"))
    return [*ended, [finish.judged for finish in given], *reports]


def _settle_finishes(cursor: psycopg.RawCursor[Any], changes: list[Change]) -> None:
    ended: set[int] = set()
    owed: defaultdict[str, list[int]] = defaultdict(list)
    for seq, execution, report in cursor.fetchall():
        if seq is None:
            owed[execution].append(report)
        else:
            ended.add(seq)
    for change in changes:
        finish: Finish = change.bound
        rows = sorted(owed[finish.reports[0]["execution"]]) if finish.reports else []
        change.result = rows if finish.end["seq"] in ended else None


def _bind_told(given: list[Tell]) -> list[Any]:
    reports = [report for told in given for report in told.reports]
    finished = [execution for told in given for execution in told.finished]
    return [reports, finished, max(told.now for told in given)]


def _settle_told(_: psycopg.RawCursor[Any], changes: list[Change]) -> None:
    for change in changes:
        change.result = None


def _id_of(given: Any) -> Any:
    return given[0]["id"]


def _seq_of(given: Any) -> Any:
    return given[0]["seq"]


def _ended(given: Finish) -> Any:
    return given.end["seq"]


# In the order in which they are carried out.
_KINDS = {
    "insert": _Kind(_INSERT, _id_of, _bind_inserts, _settle_inserts),
    "begin": _Kind(_BEGIN, _seq_of, _bind_begins, _settle_begins),
    "finish": _Kind(_FINISH, _ended, _bind_finishes, _settle_finishes),
    "tell": _Kind(_TELL, id, _bind_told, _settle_told),
}
