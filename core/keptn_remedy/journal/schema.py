"""The tables of the SQLite journal, and how a file of an older version becomes one of this."""

from __future__ import annotations

import sqlite3

from keptn_remedy.journal import JournalUnusable

VERSION_1 = """
CREATE TABLE executions (
    seq         INTEGER PRIMARY KEY,  -- the order of arrival
    id          TEXT NOT NULL UNIQUE, -- the trigger's event id
    state       TEXT NOT NULL DEFAULT 'accepted',
    lane        TEXT NOT NULL,
    action      TEXT NOT NULL,
    context     TEXT NOT NULL,
    project     TEXT NOT NULL,
    stage       TEXT NOT NULL,
    service     TEXT NOT NULL,
    accepted_at REAL NOT NULL,        -- Unix time in seconds, here and below
    started_at  REAL,
    finished_at REAL,
    reported_at REAL,                 -- when Keptn had `finished`
    runs        INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    plan        BLOB,
    failure     BLOB,                 -- the outcome that a plan is being undone for
    status      TEXT,
    result      TEXT,
    message     TEXT,
    details     BLOB,
    event       BLOB NOT NULL
);
CREATE INDEX executions_open ON executions (seq, lane) WHERE state <> 'finished';
CREATE INDEX executions_finished ON executions (finished_at) WHERE state = 'finished';

-- What Keptn must still be told. A delivered report leaves the table.
CREATE TABLE reports (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: the outbox goes by it
    execution  TEXT,                  -- NULL for what belongs to no trigger
    kind       TEXT NOT NULL,
    event      BLOB NOT NULL,
    state      TEXT NOT NULL DEFAULT 'unsent', -- or 'parked'
    doubtful   INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    due_at     REAL NOT NULL,
    reason     TEXT
);
CREATE INDEX reports_of ON reports (execution, seq);
CREATE INDEX reports_due ON reports (due_at) WHERE state = 'unsent';
CREATE INDEX reports_parked ON reports (created_at) WHERE state = 'parked';

CREATE TABLE memory (
    action TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (action, key)
) WITHOUT ROWID;
"""

MIGRATIONS = (VERSION_1,)
"""Entry n leads from version n to n + 1. Entries are never edited, only added."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this version, each step in a transaction of its own.

    Raises:
        JournalUnusable: a newer keptn-remedy wrote the file.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise JournalUnusable(
            f"the journal has version {version}, this keptn-remedy knows up to {len(MIGRATIONS)}: "
            "run the newer release, or start with another REMEDY_JOURNAL"
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version={number}; COMMIT;")
