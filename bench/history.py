"""A journal with a long past, written straight into the tables, of a file or of a database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from bench.load import new_event
from keptn_remedy.journal import postgres_schema
from keptn_remedy.journal.schema import migrate

DAYS = 25  # within the 30 that are kept by default
SERVICES = 500
AT_ONCE = 20_000

_INSERT = """
INSERT INTO executions (id, state, lane, action, context, project, stage, service, accepted_at,
    started_at, finished_at, reported_at, runs, attempts, status, result, message, details, event)
VALUES (?, 'finished', ?, 'bench-noop', ?, 'sockshop', 'production', ?, ?, ?, ?, ?, 1, 1,
    'succeeded', 'pass', 'nothing to do', '{}', ?)"""
_INSERT_EFFECTS = """
INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle,
    leads, admitted_at, ended_at, settled_at, judged)
SELECT seq, 'service sockshop/production/' || service, action, project, stage, service, context,
    {planned}, 0, {leads}, started_at, finished_at, finished_at, 'helped' FROM executions"""
_COPY = """
COPY executions (id, state, lane, action, context, project, stage, service, accepted_at, started_at,
    finished_at, reported_at, runs, attempts, status, result, message, details, event)
FROM STDIN"""


def write(journal: Path, executions: int) -> None:
    """Make a journal of that many finished and reported executions, evenly over the past days."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        # Nobody needs this file if we crash.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        migrate(connection)
        rows = _rows(executions)
        for _ in range(0, executions, AT_ONCE):
            connection.execute("BEGIN")
            connection.executemany(_INSERT, islice(rows, AT_ONCE))
            connection.execute("COMMIT")
        connection.execute(_INSERT_EFFECTS.format(planned=0, leads=1))


def write_database(url: str, executions: int) -> None:
    """Make the same in an empty database, vacuumed as autovacuum would in that time."""
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        postgres_schema.migrate(connection)
        with connection.cursor().copy(_COPY) as copy:
            for event_id, lane, context, service, *times, event in _rows(executions):
                copy.write_row(
                    (
                        *(event_id, "finished", lane, "bench-noop", context),
                        *("sockshop", "production", service, *times, 1, 1),
                        *("succeeded", "pass", "nothing to do", b"{}", event),
                    )
                )
        connection.execute(_INSERT_EFFECTS.format(planned=False, leads=True).encode())
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")  # or its pages are written while the rate is measured


def _rows(executions: int) -> Iterator[tuple[Any, ...]]:
    oldest = time.time() - DAYS * 86_400
    apart = DAYS * 86_400 / executions
    for number in range(executions):
        service = f"service-{number % SERVICES}"
        event_id, event = new_event(number % SERVICES)
        accepted = oldest + number * apart
        lane = f"sockshop\nproduction\n{service}"
        times = (accepted, accepted + 0.01, accepted + 0.02, accepted + 0.03)
        yield (event_id, lane, event_id, service, *times, event)
