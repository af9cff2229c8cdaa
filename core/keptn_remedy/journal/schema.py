"""The tables of the SQLite journal, and how a file of an older version becomes one of this."""

from __future__ import annotations

import sqlite3

from keptn_remedy.journal.episode_schema import EPISODE_INDEXES, EPISODES, EPISODES_2
from keptn_remedy.journal.errors import JournalUnusable

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

VERSION_2 = """
ALTER TABLE executions ADD COLUMN question BLOB; -- what it asks of people, and their verdict
ALTER TABLE executions ADD COLUMN aborted TEXT;  -- why it was given up
ALTER TABLE executions ADD COLUMN listed INTEGER NOT NULL DEFAULT 0; -- Keptn told it as open
ALTER TABLE executions ADD COLUMN problem_closed INTEGER NOT NULL DEFAULT 0; -- while it was open
CREATE INDEX executions_asking ON executions (seq)
    WHERE question IS NOT NULL AND state <> 'finished';

-- The targets of admitted executions: what rails count.
CREATE TABLE effects (
    execution   INTEGER NOT NULL, -- its seq
    target      TEXT NOT NULL,
    action      TEXT NOT NULL,
    project     TEXT NOT NULL,
    stage       TEXT NOT NULL,
    service     TEXT NOT NULL,
    context     TEXT NOT NULL,
    planned     INTEGER NOT NULL,
    settle      REAL NOT NULL,    -- in seconds
    leads       INTEGER NOT NULL, -- one of each execution does: executions are counted by it
    admitted_at REAL NOT NULL,
    ended_at    REAL,
    settled_at  REAL,
    judged      TEXT,             -- helped, aborted or failed
    PRIMARY KEY (execution, target)
) WITHOUT ROWID;
CREATE INDEX effects_of_target ON effects (target, admitted_at, execution, action);
CREATE INDEX effects_of_action ON effects (action, admitted_at, leads);
CREATE INDEX effects_of_stage ON effects (project, stage, admitted_at, leads, service);
CREATE INDEX effects_running ON effects (execution) WHERE planned AND ended_at IS NULL;
CREATE INDEX effects_settling ON effects (settled_at) WHERE planned AND settle > 0;

-- From when on failures on a target count again; '' stands for all targets.
CREATE TABLE forgiven (
    target TEXT PRIMARY KEY,
    at     REAL NOT NULL,
    who    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE pause (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    since  REAL NOT NULL
);

CREATE TABLE undos (
    execution INTEGER PRIMARY KEY, -- its seq
    context   TEXT NOT NULL,
    state     TEXT NOT NULL,       -- armed, wanted or running; done, refused or failed
    on_closed INTEGER NOT NULL DEFAULT 0,
    due_at    REAL,
    cause     TEXT,
    who       TEXT,
    reason    TEXT,
    asked_at  REAL,
    ended_at  REAL,
    message   TEXT
) WITHOUT ROWID;                   -- so that arming leaves last_insert_rowid() alone
CREATE INDEX undos_open ON undos (state, due_at) WHERE ended_at IS NULL;
CREATE INDEX undos_armed ON undos (context) WHERE state = 'armed' AND on_closed;
"""

VERSION_3 = """
ALTER TABLE reports ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0; -- the way took no report
CREATE INDEX reports_blocked ON reports (seq) WHERE blocked;
"""

VERSION_4 = """
-- Orders that the service must hear: how many people gave, and the newest that it heard.
CREATE TABLE orders (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    given INTEGER NOT NULL,
    heard INTEGER NOT NULL
);
INSERT INTO orders VALUES (1, 0, 0);
"""

VERSION_5 = """
-- What people may have to be told, noted by the change that made it so.
CREATE TABLE notices (
    key       TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    execution TEXT,
    at        REAL NOT NULL,
    about     BLOB                    -- JSON
) WITHOUT ROWID;                      -- so that noting leaves last_insert_rowid() alone

-- What channels are sent. What was sent stays for a while, so that it is sent once.
CREATE TABLE notifications (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    key     TEXT NOT NULL,
    body    BLOB NOT NULL,
    state   TEXT NOT NULL DEFAULT 'waiting', -- or sent, or dropped
    at      REAL NOT NULL,
    stands  INTEGER NOT NULL DEFAULT 0,      -- it holds until one says that it is over
    reason  TEXT
);
CREATE UNIQUE INDEX notifications_once ON notifications (channel, key);
CREATE INDEX notifications_waiting ON notifications (channel, seq) WHERE state = 'waiting';
CREATE INDEX notifications_standing ON notifications (seq) WHERE stands;
CREATE INDEX notifications_past ON notifications (at) WHERE state <> 'waiting';
"""

VERSION_6 = """
-- Since when an execution waits for nothing but time, and until when.
ALTER TABLE executions ADD COLUMN timer_since REAL;
ALTER TABLE executions ADD COLUMN timer_due REAL;
"""

VERSION_8 = """
-- Why attempts failed that were made again: the newest of each execution.
CREATE TABLE failed_attempts (
    seq       INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL,       -- its seq
    failed_at REAL NOT NULL,
    phase     TEXT NOT NULL,          -- the method of the action
    number    INTEGER NOT NULL,
    cause     TEXT NOT NULL
);
CREATE INDEX failed_attempts_of ON failed_attempts (execution, seq);
"""

MIGRATIONS = (
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    VERSION_5,
    VERSION_6,
    EPISODES,
    VERSION_8,
    EPISODES_2,
)
"""Entry n leads from version n to n + 1. Entries are never edited, only added."""

INDEXES = """
CREATE INDEX IF NOT EXISTS executions_lanes ON executions (lane, seq) WHERE state <> 'finished';
CREATE INDEX IF NOT EXISTS executions_planned ON executions (seq, lane)
    WHERE state <> 'finished' AND plan IS NOT NULL;
CREATE INDEX IF NOT EXISTS executions_accepted ON executions (accepted_at)
    WHERE state = 'accepted' AND aborted IS NULL;
CREATE INDEX IF NOT EXISTS executions_begun ON executions (started_at)
    WHERE state = 'started' AND aborted IS NULL;
-- All that executions are browsed by, so that no look reads their events. What passed is left out
-- of the second one: there is most of it, and nobody looks for it by its result.
CREATE INDEX IF NOT EXISTS executions_browsed ON executions
    (seq, project, stage, service, action, accepted_at);
CREATE INDEX IF NOT EXISTS executions_other ON executions
    (seq, status, result, project, stage, service, action, accepted_at, finished_at,
    iif(json_valid(CAST(details AS TEXT)), json_extract(CAST(details AS TEXT), '$.rail'), NULL))
    WHERE state = 'finished' AND result <> 'pass';
"""
"""For quick looks alone: an older release of the same version does without, and keeps them."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this version, each step in a transaction of its own.

    Raises:
        JournalUnusable: a newer keptn-remedy wrote the file.
    """
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise JournalUnusable(
            f"the journal has version {version}, this keptn-remedy knows up to {len(MIGRATIONS)}: "
            "run the newer release, or start with another REMEDY_JOURNAL"
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version={number}; COMMIT;")
    connection.executescript(INDEXES + EPISODE_INDEXES)


def require_this_version(connection: sqlite3.Connection) -> None:
    """See that the file needs no migration, and is not beyond us.

    Raises:
        JournalUnusable: it has another version; the message says what to do.
    """
    version, ours = _version(connection), len(MIGRATIONS)
    if version != ours:
        raise JournalUnusable(
            f"the journal has version {version}, this keptn-remedy writes version {ours}: "
            "run the same release as the service, or start the newer one's service once"
        )


def require_known_version(connection: sqlite3.Connection) -> None:
    """See that the file is a journal, and not beyond us.

    Raises:
        JournalUnusable: it is none, or a newer keptn-remedy wrote it.
    """
    version, ours = _version(connection), len(MIGRATIONS)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if not version or not {"executions", "reports"} <= tables:
        raise JournalUnusable("the copy is no journal of keptn-remedy")
    if version > ours:
        raise JournalUnusable(
            f"the copy has version {version}, this keptn-remedy knows up to {ours}: run the newer "
            "release"
        )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
