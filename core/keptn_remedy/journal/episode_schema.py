"""The tables of episodes."""

EPISODES = """
CREATE TABLE episodes (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    version      INTEGER NOT NULL DEFAULT 0,
    source       TEXT NOT NULL,
    alert_key    TEXT NOT NULL,    -- source and key are the identity of a trouble
    project      TEXT NOT NULL,
    stage        TEXT NOT NULL,
    service      TEXT NOT NULL,
    names        TEXT NOT NULL,    -- JSON, here and in the three below
    labels       TEXT NOT NULL,
    annotations  TEXT NOT NULL,
    remedy       TEXT,
    digest       TEXT,
    url          TEXT NOT NULL,
    state        TEXT NOT NULL,
    opened_at    REAL NOT NULL,    -- Unix time in seconds, here and below
    firing_at    REAL NOT NULL,
    quiet_since  REAL,
    absent_since REAL,
    due_at       REAL NOT NULL,
    rung         INTEGER NOT NULL DEFAULT 0,
    tries        INTEGER NOT NULL DEFAULT 0,
    reason       TEXT,
    held_from    TEXT,
    held_since   REAL,
    helped_at    REAL,
    escalated_at REAL,
    told_at      REAL,
    closed_at    REAL,
    closing      TEXT
);
CREATE UNIQUE INDEX episodes_open ON episodes (source, alert_key) WHERE closed_at IS NULL;
CREATE INDEX episodes_due ON episodes (due_at) WHERE closed_at IS NULL;
CREATE INDEX episodes_closed ON episodes (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX episodes_of ON episodes (source, alert_key, closed_at);
CREATE INDEX episodes_of_stage ON episodes (project, stage, opened_at);

CREATE TABLE episode_members (
    episode     INTEGER NOT NULL,  -- its seq
    fingerprint TEXT NOT NULL,
    firing      INTEGER NOT NULL,
    starts_at   TEXT NOT NULL,
    seen_at     REAL NOT NULL,
    labels      TEXT NOT NULL,
    PRIMARY KEY (episode, fingerprint)
);

CREATE TABLE episode_rungs (
    episode        INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    rung           INTEGER NOT NULL,
    execution      TEXT NOT NULL,
    action         TEXT NOT NULL,
    began_at       REAL NOT NULL,
    ended_at       REAL,
    status         TEXT,
    result         TEXT,
    message        TEXT,
    acted          INTEGER NOT NULL DEFAULT 1,
    settled_at     REAL,
    window_ends_at REAL,
    good_since     REAL,
    start_value    REAL,
    verdict        TEXT,
    reason         TEXT,
    numbers        TEXT,
    judged_at      REAL,
    PRIMARY KEY (episode, number)
);
CREATE INDEX episode_rungs_of ON episode_rungs (execution);

CREATE TABLE episode_notes (
    episode INTEGER NOT NULL,
    at      REAL NOT NULL,
    state   TEXT NOT NULL,
    text    TEXT NOT NULL
);
CREATE INDEX episode_notes_of ON episode_notes (episode, at);

-- What opened no episode, and why, folded by its reason.
CREATE TABLE ignored_alerts (
    source  TEXT NOT NULL,
    name    TEXT NOT NULL,
    reason  TEXT NOT NULL,
    times   INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (source, name, reason)
);
"""

# What a person says of an episode, and whether a storm held it.
EPISODES_2 = """
ALTER TABLE episodes ADD COLUMN acknowledged TEXT;
ALTER TABLE episodes ADD COLUMN word_at REAL;
ALTER TABLE episodes ADD COLUMN in_storm INTEGER NOT NULL DEFAULT 0;
"""

EPISODE_INDEXES = """
CREATE INDEX IF NOT EXISTS episodes_running ON episodes (project, stage)
    WHERE closed_at IS NULL AND state IN ('acting', 'settling', 'judging');
CREATE INDEX IF NOT EXISTS episodes_in_storm ON episodes (project, stage)
    WHERE closed_at IS NULL AND in_storm AND tries = 0;
"""
