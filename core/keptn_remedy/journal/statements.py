"""What the SQLite journal asks and changes, in SQL."""

from __future__ import annotations

from keptn_remedy.journal import rows

ACCEPT = """
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
OWE_STARTED = """
INSERT INTO reports (execution, kind, event, created_at, due_at)
SELECT ?, ?, ?, ?, ? FROM executions WHERE seq = ? AND state = 'accepted'"""
BEGIN = """
UPDATE executions SET state = 'started', started_at = coalesce(started_at, ?), runs = runs + ?
WHERE seq = ? AND state <> 'finished'"""
FINISH = """
UPDATE executions SET state = 'finished', finished_at = ?, attempts = ?, status = ?, result = ?,
    message = ?, details = ?
WHERE seq = ? AND state <> 'finished'"""
# changes() is 1 after the update, and after each report that it let in.
OWE_IF_CHANGED = """
INSERT INTO reports (execution, kind, event, created_at, due_at)
SELECT ?, ?, ?, ?, ? WHERE changes() > 0"""
PARK_AFTER_STARTED = """
UPDATE reports SET state = 'parked', reason = 'its started was refused'
WHERE execution = ? AND kind = 'finished' AND EXISTS (SELECT 1 FROM reports AS earlier
    WHERE earlier.execution = reports.execution AND earlier.kind = 'started'
        AND earlier.state = 'parked')"""
OWE = """
INSERT INTO reports (execution, kind, event, created_at, due_at) VALUES (?, ?, ?, ?, ?)"""
FORGET = "DELETE FROM reports WHERE seq IN (SELECT value FROM json_each(?))"
REPORTED = """
UPDATE executions SET reported_at = ? WHERE id IN (SELECT value FROM json_each(?))"""
WAITING = """
SELECT seq, event, action, runs, plan, failure FROM executions WHERE seq IN (
    SELECT min(seq) FROM executions WHERE state <> 'finished'
        AND lane NOT IN (SELECT value FROM json_each(?)) GROUP BY lane)
ORDER BY plan IS NULL, seq LIMIT ?"""
# Without the hint SQLite walks through the whole history, by seq.
COUNT_WAITING = """
SELECT count(*) FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq <= ? AND seq NOT IN (SELECT value FROM json_each(?))"""
PLANNED = """
SELECT seq, event, action, runs, plan, failure FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND plan IS NOT NULL ORDER BY seq"""
UNANNOUNCED = """
SELECT seq, event, action, runs, plan, failure FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND state = 'accepted' AND accepted_at < ? ORDER BY seq LIMIT ?"""
UNSENT = """
SELECT seq, kind, execution, event, attempts, doubtful, created_at,
    (SELECT action FROM executions WHERE id = report.execution) FROM reports AS report
WHERE state = 'unsent' AND due_at <= ?
    AND (execution IS NULL OR execution NOT IN (SELECT value FROM json_each(?)))
    AND NOT EXISTS (SELECT 1 FROM reports AS earlier WHERE earlier.execution = report.execution
        AND earlier.seq < report.seq AND earlier.state = 'unsent')
ORDER BY due_at, seq LIMIT ?"""
NEXT_DUE = """
SELECT count(*), min(due_at) FILTER (WHERE execution IS NULL
    OR execution NOT IN (SELECT value FROM json_each(?))) FROM reports
WHERE state = 'unsent' AND seq NOT IN (SELECT value FROM json_each(?))"""
# A `finished` that follows a refused `started` would never balance (contract §4.4): they go
# together. A log entry stands for itself.
PARK = """
UPDATE reports SET state = 'parked', reason = ?, attempts = attempts + 1
WHERE seq = ? OR (execution = ? AND kind = 'finished' AND ? = 'started')"""
POSTPONE = """
UPDATE reports SET attempts = ?, doubtful = ?, due_at = ?, reason = ? WHERE seq = ?"""
PRUNE = """
DELETE FROM executions WHERE seq IN (
    SELECT seq FROM executions WHERE state = 'finished' AND finished_at < ?
        AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id AND reports.state = 'unsent')
    ORDER BY finished_at LIMIT ?)"""
UNDELIVERED = "SELECT kind, state, attempts, due_at, reason FROM reports WHERE execution = ?"
PRUNE_PARKED = "DELETE FROM reports WHERE state = 'parked' AND created_at < ?"
DOUBT = "UPDATE reports SET doubtful = 1, due_at = max(due_at, ?) WHERE state = 'unsent'"
# The oldest by seq, so that neither a long history nor a long backlog is walked through.
BACKLOG = """
SELECT (SELECT count(*) FROM executions WHERE state <> 'finished'),
    (SELECT count(*) FROM reports WHERE state = 'unsent'),
    (SELECT count(*) FROM reports WHERE state = 'parked'),
    (SELECT accepted_at FROM executions INDEXED BY executions_open
        WHERE state <> 'finished' ORDER BY seq LIMIT 1),
    (SELECT created_at FROM reports NOT INDEXED WHERE state = 'unsent' ORDER BY seq LIMIT 1)"""
IS_FINISHED = "SELECT 1 FROM executions WHERE id = ? AND state = 'finished'"
REFUSED = """
SELECT execution FROM reports INDEXED BY reports_parked JOIN executions ON id = execution
WHERE reports.state = 'parked' AND kind = 'started' AND executions.state <> 'finished'"""
REMEMBER = """
INSERT INTO memory (action, key, value) VALUES (?, ?, ?)
ON CONFLICT (action, key) DO UPDATE SET value = excluded.value"""
_COLUMNS = ", ".join(rows.RECORD)
RECORDS = f"""
SELECT {_COLUMNS} FROM executions
WHERE seq < ? AND state = coalesce(?, state) ORDER BY seq DESC LIMIT ?"""  # noqa: S608  our names
OPEN_RECORDS = f"""
SELECT {_COLUMNS} FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq < ? AND state = ? ORDER BY seq DESC LIMIT ?"""  # noqa: S608
RECORDS_AFTER = f"SELECT {_COLUMNS} FROM executions WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
WHOLE = f"SELECT {_COLUMNS}, details, plan, event FROM executions WHERE id = ?"  # noqa: S608
