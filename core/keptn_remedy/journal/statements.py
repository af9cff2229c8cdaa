"""What the journal asks and changes, in SQLite's SQL; `postgres_dialect` translates it."""

from __future__ import annotations

from collections.abc import Sequence

from keptn_remedy.journal import rows

# What `rows` makes an execution of, and a record.
_EXECUTION = ", ".join(rows.EXECUTION)
_UNDONE = "(SELECT state FROM undos WHERE execution = seq)"
_RECORD = RECORD = ", ".join(("seq", *rows.RECORD[1:-1], _UNDONE))
# The guard-rail that refused an execution: `executions_other` holds it, in these very words.
_DETAILS = "CAST(details AS TEXT)"
RAIL = f"iif(json_valid({_DETAILS}), json_extract({_DETAILS}, '$.rail'), NULL)"
RULE = f"iif(json_valid({_DETAILS}), json_extract({_DETAILS}, '$.rule'), NULL)"

ACCEPT = """
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event)
VALUES (:id, :lane, :action, :context, :project, :stage, :service, :now, :event)
ON CONFLICT (id) DO NOTHING"""
ACCEPT_BEGUN = """
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event,
    state, started_at, runs)
VALUES (:id, :lane, :action, :context, :project, :stage, :service, :now, :event,
    'started', :now, 1)
ON CONFLICT (id) DO NOTHING"""
_REPORT = "INSERT INTO reports (execution, kind, event, created_at, due_at)"
_OWED = ":execution, :kind, :event, :now, :now"
OWE_STARTED = f"""
{_REPORT} SELECT {_OWED} FROM executions
WHERE seq = :seq AND state = 'accepted' AND aborted IS NULL"""  # noqa: S608  our names
# A question that can't be read has no verdict.
_TEXT = "CAST(question AS TEXT)"
VERDICT = f"iif(json_valid({_TEXT}), json_extract({_TEXT}, '$.verdict'), NULL)"
BEGIN = f"""
UPDATE executions SET state = 'started', started_at = coalesce(started_at, :now),
    runs = runs + iif(question IS NULL OR {VERDICT} IS NOT NULL, :runs, 0)
WHERE seq = :seq AND state <> 'finished'"""  # noqa: S608  our names
FINISH = """
UPDATE executions SET state = 'finished', finished_at = :now, attempts = :attempts,
    status = :status, result = :result, message = :message, details = :details
WHERE seq = :seq AND state <> 'finished' AND (aborted IS NULL OR :status = 'aborted')"""
KEEP_FAILURE = "UPDATE executions SET failure = ? WHERE seq = ?"
NOTED_ABORT = "SELECT aborted FROM executions WHERE seq = ? AND state <> 'finished'"
DROP_QUESTION = "UPDATE executions SET question = NULL WHERE seq = ? AND status = 'aborted'"
FINISH_LOST = """
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event,
    state, finished_at, status, result, message, details)
VALUES (:id, :lane, :action, :context, :project, :stage, :service, :now, :event, 'finished', :now,
    :status, :result, :message, :details) ON CONFLICT (id) DO NOTHING"""
# changes() is 1 after the update, and after each report that it let in.
OWE_IF_CHANGED = f"{_REPORT} SELECT {_OWED} WHERE changes() > 0"
PARK_AFTER_STARTED = """
UPDATE reports SET state = 'parked', reason = 'its started was refused'
WHERE execution = ? AND kind = 'finished' AND EXISTS (SELECT 1 FROM reports AS earlier
    WHERE earlier.execution = reports.execution AND earlier.kind = 'started'
        AND earlier.state = 'parked')"""
OWE = f"{_REPORT} VALUES ({_OWED})"
IS_TOLD = """
SELECT 1 FROM executions WHERE id = :id AND state = :state
    AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = :id)"""
FORGET = "DELETE FROM reports WHERE seq IN (SELECT value FROM json_each(?))"
REPORTED = """
UPDATE executions SET reported_at = ? WHERE id IN (SELECT value FROM json_each(?))"""
NEXT_IN_LANES = f"""
SELECT {_EXECUTION} FROM executions WHERE seq IN (
    SELECT min(seq) FROM executions WHERE state <> 'finished' GROUP BY lane)
ORDER BY plan IS NULL, seq"""  # noqa: S608  our names
# Without the hint SQLite walks through the whole history, by seq.
AGAIN = f"SELECT {_EXECUTION} FROM executions WHERE seq = ? AND state <> 'finished'"  # noqa: S608
OPEN_AFTER = """
SELECT seq, lane FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq > ? ORDER BY seq LIMIT ?"""
PLANNED_LANES = """
SELECT lane FROM executions INDEXED BY executions_planned
WHERE state <> 'finished' AND plan IS NOT NULL"""
_OF_LANE = """SELECT seq FROM executions INDEXED BY executions_lanes
        WHERE state <> 'finished' AND lane = asked.value ORDER BY seq LIMIT 1"""
HEADS = f"""
SELECT value, ({_OF_LANE}), ({_OF_LANE} OFFSET 1) FROM json_each(?) AS asked"""  # noqa: S608
CLAIMABLE = f"""
SELECT lane, {_EXECUTION} FROM executions
WHERE seq IN (SELECT value FROM json_each(:heads))
ORDER BY plan IS NULL, seq LIMIT :limit"""  # noqa: S608  our names
PLANNED = f"""
SELECT {_EXECUTION} FROM executions INDEXED BY executions_planned
WHERE state <> 'finished' AND plan IS NOT NULL ORDER BY seq"""  # noqa: S608
BEGUN = """
SELECT id FROM executions INDEXED BY executions_begun
WHERE state <> 'finished' AND state = 'started' AND aborted IS NULL AND started_at <= ?
    AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id AND kind = 'started')"""
UNANNOUNCED = f"""
SELECT {_EXECUTION} FROM executions INDEXED BY executions_accepted
WHERE state = 'accepted' AND aborted IS NULL AND accepted_at < ?
ORDER BY accepted_at, seq LIMIT ?"""  # noqa: S608
# The first of each execution, and of no execution of which one is held.
_FREE = """state = 'unsent' AND seq NOT IN (SELECT value FROM json_each(:held))
    AND (execution IS NULL OR execution NOT IN (SELECT value FROM json_each(:busy)))
    AND NOT EXISTS (SELECT 1 FROM reports AS earlier WHERE earlier.execution = report.execution
        AND earlier.seq < report.seq AND earlier.state = 'unsent')"""
DUE_REPORTS = f"""
SELECT seq, kind, execution, event, attempts, doubtful, created_at,
    (SELECT action FROM executions WHERE id = report.execution) FROM reports AS report
WHERE {_FREE} AND due_at <= :now ORDER BY due_at, seq LIMIT :limit"""  # noqa: S608
NEXT_DUE = f"""
SELECT due_at FROM reports AS report
WHERE {_FREE} AND due_at > :now ORDER BY due_at LIMIT 1"""  # noqa: S608
UNSENT = "SELECT seq FROM reports WHERE state = 'unsent'"
# A `finished` that follows a refused `started` would never balance (docs/keptn.md#k14): they go
# together. A log entry stands for itself.
PARK = """
UPDATE reports SET state = 'parked', reason = :reason, attempts = attempts + 1, blocked = FALSE
WHERE seq = :seq OR (execution = :execution AND kind = 'finished' AND :kind = 'started')"""
POSTPONE = """
UPDATE reports SET attempts = :attempts, doubtful = :doubtful, due_at = :due_at, reason = :reason,
    blocked = :blocked
WHERE seq = :seq"""
# The newest row stays: without it SQLite would number from the start again, below the frontier.
PRUNABLE = """
SELECT seq FROM executions WHERE state = 'finished' AND finished_at < ?
    AND seq < (SELECT max(seq) FROM executions)
    AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id AND reports.state = 'unsent')
    AND NOT EXISTS (SELECT 1 FROM undos WHERE execution = seq AND ended_at IS NULL
        AND (state <> 'armed' OR due_at IS NOT NULL))
ORDER BY finished_at LIMIT ?"""
PRUNE = (
    "DELETE FROM executions WHERE seq IN (SELECT value FROM json_each(?))",
    "DELETE FROM effects WHERE execution IN (SELECT value FROM json_each(?))",
    "DELETE FROM undos WHERE execution IN (SELECT value FROM json_each(?))",
    "DELETE FROM failed_attempts WHERE execution IN (SELECT value FROM json_each(?))",
)
UNDELIVERED = "SELECT kind, state, attempts, due_at, reason FROM reports WHERE execution = ?"
OWED_REPORTS = """
SELECT seq, execution, kind, state, attempts, due_at, reason, created_at, blocked FROM reports
ORDER BY state, seq LIMIT ?"""  # parked ones first
PARKED = """
SELECT seq FROM reports INDEXED BY reports_parked
WHERE state = 'parked' AND (:execution IS NULL OR execution = :execution)"""
# Keptn is asked first: after so long it may have ended the task.
RESEND = """
UPDATE reports SET state = 'unsent', doubtful = TRUE, attempts = 0, due_at = ?, reason = NULL
WHERE seq IN (SELECT value FROM json_each(?))"""
PRUNE_PARKED = "DELETE FROM reports WHERE state = 'parked' AND created_at < ?"
DOUBT = "UPDATE reports SET doubtful = TRUE, due_at = max(due_at, ?) WHERE state = 'unsent'"
# The oldest by seq, so that neither a long history nor a long backlog is walked through.
BACKLOG = """
SELECT (SELECT count(*) FROM executions WHERE state <> 'finished'),
    (SELECT count(*) FROM reports WHERE state = 'unsent'),
    (SELECT count(*) FROM reports WHERE state = 'parked'),
    (SELECT count(*) FROM reports WHERE blocked),
    (SELECT reason FROM reports WHERE blocked ORDER BY seq DESC LIMIT 1),
    (SELECT accepted_at FROM executions INDEXED BY executions_open
        WHERE state <> 'finished' ORDER BY seq LIMIT 1),
    (SELECT created_at FROM reports NOT INDEXED WHERE state = 'unsent' ORDER BY seq LIMIT 1)"""
IS_FINISHED = "SELECT 1 FROM executions WHERE id = ? AND state = 'finished'"
REFUSED = """
SELECT execution FROM reports INDEXED BY reports_parked JOIN executions ON id = execution
WHERE reports.state = 'parked' AND kind = 'started' AND executions.state <> 'finished'"""
RECALL = "SELECT value FROM memory WHERE action = ? AND key = ?"
FORGET_MEMORY = "DELETE FROM memory WHERE action = ? AND key = ?"
REMEMBER = """
INSERT INTO memory (action, key, value) VALUES (?, ?, ?)
ON CONFLICT (action, key) DO UPDATE SET value = excluded.value"""
REMEMBER_FIRST = """
INSERT INTO memory (action, key, value) VALUES (:action, :key, :value)
ON CONFLICT (action, key) DO NOTHING"""
REMEMBER_INSTEAD = """
UPDATE memory SET value = :value WHERE action = :action AND key = :key AND value = :was"""
REMEMBER_WITHIN = """
INSERT INTO memory (action, key, value) SELECT :action, :key, :value
WHERE (SELECT count(*) FROM memory WHERE action = :action) < :most
    OR EXISTS (SELECT 1 FROM memory WHERE action = :action AND key = :key)
ON CONFLICT (action, key) DO UPDATE SET value = excluded.value"""
RECORDS = f"""
SELECT {_RECORD} FROM executions
WHERE seq < ? AND state = coalesce(?, state) ORDER BY seq DESC LIMIT ?"""  # noqa: S608  our names
OPEN_RECORDS = f"""
SELECT {_RECORD} FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq < ? AND state = ? ORDER BY seq DESC LIMIT ?"""  # noqa: S608
ASKING_RECORDS = f"""
SELECT {_RECORD} FROM executions INDEXED BY executions_asking
WHERE question IS NOT NULL AND state <> 'finished' AND {VERDICT} IS NULL
    AND seq < ? AND state = coalesce(?, state) ORDER BY seq DESC LIMIT ?"""  # noqa: S608
ASKING_OF = f"""
SELECT id FROM executions WHERE seq IN (SELECT value FROM json_each(?))
    AND question IS NOT NULL AND state <> 'finished' AND {VERDICT} IS NULL"""  # noqa: S608
IS_OPEN = "state <> 'finished'"
IS_ASKING = f"question IS NOT NULL AND {IS_OPEN} AND {VERDICT} IS NULL"
RECORDS_AFTER = f"SELECT {_RECORD} FROM executions WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
RECORDS_OF = f"""
SELECT {_RECORD} FROM executions
WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"""  # noqa: S608
NEWEST = "SELECT seq, id FROM executions ORDER BY seq DESC LIMIT 1"
STATES = """
SELECT seq, state FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq <= ?"""
WHOLE = f"""
SELECT {_RECORD}, details, plan, event, question, aborted FROM executions
WHERE id = ?"""  # noqa: S608
# What Keptn has acknowledged: `started` of what is open, `finished` of what is not.
TOLD = f"""
SELECT {_RECORD} FROM executions WHERE id IN (SELECT value FROM json_each(?))
    AND (state = 'started' OR reported_at IS NOT NULL) AND aborted IS NULL
    AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id)"""  # noqa: S608
KNOWN = "SELECT id FROM executions WHERE id IN (SELECT value FROM json_each(?))"
FAILED_ATTEMPTS = """
SELECT failed_at, phase, number, cause FROM failed_attempts WHERE execution = ? ORDER BY seq"""
TRIGGER = "SELECT event FROM executions WHERE id = ?"

_OPEN_TASK = "seq, id, project, stage, context, state, listed, aborted, action"
OPEN_TASKS = f"""
SELECT {_OPEN_TASK} FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq > ? AND accepted_at < ? ORDER BY seq LIMIT ?"""  # noqa: S608
OPEN_TASKS_OF = f"""
SELECT {_OPEN_TASK} FROM executions INDEXED BY executions_lanes
WHERE state <> 'finished' AND lane = ? AND seq > ? ORDER BY seq LIMIT ?"""  # noqa: S608
CLOSED_AS_ABORTED = """
SELECT event, action, message, started_at FROM executions
WHERE id IN (SELECT value FROM json_each(?)) AND state = 'finished' AND status = 'aborted'
    AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id AND reports.state = 'unsent')"""
ANSWER_ABORTED = """
UPDATE executions SET status = :status, result = :result, message = :message, finished_at = :now,
    started_at = coalesce(started_at, :now), reported_at = NULL
WHERE id = :id AND state = 'finished' AND status = 'aborted'"""
NOTE_LISTED = """
UPDATE executions SET listed = TRUE
WHERE id IN (SELECT value FROM json_each(?)) AND state <> 'finished' AND NOT listed"""
NOTE_ABORT = """
UPDATE executions SET aborted = ? WHERE id = ? AND state <> 'finished' AND aborted IS NULL"""

IS_ADMITTED = """
SELECT plan IS NOT NULL OR EXISTS (SELECT 1 FROM effects WHERE execution = seq),
    question IS NOT NULL, EXISTS (SELECT 1 FROM pause)
FROM executions WHERE seq = ? AND state <> 'finished'"""
ADMIT = f"""
UPDATE executions SET plan = ?, runs = max(runs, 1), question = iif({VERDICT} IS NULL, NULL,
    CAST(json_set({_TEXT}, '$.heeded', json('true')) AS BLOB))
WHERE seq = ?"""  # noqa: S608
ADD_EFFECT = """
INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle,
    leads, admitted_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
END_EFFECTS = """
UPDATE effects SET ended_at = :now, settled_at = :now + settle, judged = :judged
WHERE execution = :seq AND ended_at IS NULL
    AND EXISTS (SELECT 1 FROM executions WHERE seq = :seq AND finished_at = :now)"""
DROP_EFFECTS = """
DELETE FROM effects
WHERE execution = :seq AND ended_at IS NULL
    AND EXISTS (SELECT 1 FROM executions WHERE seq = :seq AND finished_at = :now)"""
# Of an execution that asks there are no effects: none of these has to leave it out.
_NEWEST = "ORDER BY admitted_at DESC, execution DESC"
LAST = f"""
SELECT {", ".join(rows.LAST)}, context, judged
FROM effects INDEXED BY effects_of_target WHERE target = ? {_NEWEST} LIMIT 1"""  # noqa: S608
OF_ACTION = f"""
SELECT context, judged, admitted_at FROM effects INDEXED BY effects_of_target
WHERE target = ? AND action = ? {_NEWEST} LIMIT 50"""  # noqa: S608
FORGIVEN_AT = "SELECT max(at) FROM forgiven WHERE target IN (?, '')"
ID_OF = "SELECT id FROM executions WHERE seq = ?"
OF_STAGE = """
SELECT count(*) FROM effects INDEXED BY effects_of_stage
WHERE project = ? AND stage = ? AND admitted_at >= ?"""
DISTINCT = {
    what: f"""
SELECT DISTINCT {what} FROM effects INDEXED BY effects_of_stage
WHERE project = ? AND stage = ? AND admitted_at >= ? LIMIT 1000"""  # noqa: S608
    for what in ("target", "service")
}
UNSETTLED = """
SELECT count(*) FROM (
    SELECT execution FROM effects INDEXED BY effects_running
    WHERE planned AND ended_at IS NULL
    UNION
    SELECT execution FROM effects INDEXED BY effects_settling
    WHERE planned AND settle > 0 AND settled_at > ?) AS unsettled"""
# A target counts where an action failed, or was asked for more than once because of one problem.
COUNT_IN_VAIN = """
SELECT count(DISTINCT target) FROM (
    SELECT target FROM effects
    WHERE judged IN ('helped', 'failed') AND admitted_at > coalesce(
        (SELECT max(at) FROM forgiven WHERE forgiven.target IN (effects.target, '')), 0)
    GROUP BY target, action, context
    HAVING sum(CASE WHEN judged = 'failed' THEN 1 ELSE 0 END) > 0 OR count(*) > 1)
    AS in_vain"""
IS_JUDGED = """
SELECT EXISTS (SELECT 1 FROM effects INDEXED BY effects_of_target
    WHERE target = ?1 AND judged IN ('helped', 'failed') AND admitted_at > coalesce(
        (SELECT max(at) FROM forgiven WHERE forgiven.target IN (?1, '')), 0))"""
FORGIVE = """
INSERT INTO forgiven (target, at, who) VALUES (?, ?, ?)
ON CONFLICT (target) DO UPDATE SET at = excluded.at, who = excluded.who"""

PAUSE = """
INSERT INTO pause (one, who, reason, since) VALUES (1, ?, ?, ?)
ON CONFLICT (one) DO UPDATE SET who = excluded.who, reason = excluded.reason,
    since = excluded.since"""
RESUME = "DELETE FROM pause"
PAUSED = "SELECT who, reason, since FROM pause"
GIVE_ORDER = "UPDATE orders SET given = given + 1"
ORDERS = "SELECT given, heard FROM orders"
HEARD = "UPDATE orders SET heard = ?"

# One run is left: the next process sees that it was begun.
SET_TIMER = """
UPDATE executions SET runs = CASE WHEN runs > 1 THEN 1 ELSE runs END,
    timer_since = coalesce(timer_since, :now), timer_due = :due
WHERE seq = :seq AND state <> 'finished'
"""
# One run is left here as well. A plan, once admitted, may be what kills the process.
NOTE_WAITING = """
UPDATE executions SET runs = 1
WHERE seq = :seq AND runs > 1 AND plan IS NULL AND state <> 'finished'"""
# A process that leaves in an orderly way was not killed by what it leaves open.
NOTE_LEFT = """
UPDATE executions SET runs = runs - 1
WHERE seq IN (SELECT value FROM json_each(?)) AND runs > 1 AND state <> 'finished'"""
TIMER = "SELECT timer_since, timer_due FROM executions WHERE seq = ?"
ASK = """
UPDATE executions SET question = :question, runs = 0
WHERE seq = :seq AND state <> 'finished'"""
ASKED = "SELECT seq, state, question FROM executions WHERE id = ?"
ASKED_BY_OPEN = f"{ASKED} AND state <> 'finished'"
ANSWER = """
UPDATE executions SET question = :question WHERE seq = :seq AND state <> 'finished'"""
# What can't be read has no verdict, and stops none of the others.
ANSWERED = f"""
SELECT id FROM executions INDEXED BY executions_asking
WHERE question IS NOT NULL AND state <> 'finished' AND {VERDICT} IS NOT NULL
ORDER BY seq"""  # noqa: S608
QUESTIONS = f"""
SELECT {_EXECUTION} FROM executions INDEXED BY executions_asking
WHERE question IS NOT NULL AND state <> 'finished' AND {VERDICT} IS NULL
ORDER BY seq LIMIT ?"""  # noqa: S608

# Armed by the very change that finished the execution, never later.
HAS_CHANGES = """iif(json_valid(CAST(plan AS TEXT)),
    json_array_length(CAST(plan AS TEXT), '$.changes') > 0, FALSE)"""
ARM = f"""
INSERT INTO undos (execution, context, state, on_closed, due_at, cause, asked_at)
SELECT seq, context, CASE WHEN :on_closed AND problem_closed THEN 'wanted' ELSE 'armed' END,
    :on_closed, :due_at,
    CASE WHEN :on_closed AND problem_closed THEN :cause END,
    CASE WHEN :on_closed AND problem_closed THEN :now END
FROM executions WHERE seq = :seq AND finished_at = :now AND failure IS NULL AND {HAS_CHANGES}
ON CONFLICT DO NOTHING"""  # noqa: S608
UNDO_AT_ONCE = """
INSERT INTO undos (execution, context, state, cause, asked_at, ended_at, message)
SELECT seq, context, :state, :cause, :now, CASE WHEN :state <> 'wanted' THEN :now END, :message
FROM executions WHERE seq = :seq AND finished_at = :now ON CONFLICT DO NOTHING"""
UNDOABLE = """
SELECT seq, executions.context, executions.state, plan, undos.state
FROM executions LEFT JOIN undos ON execution = seq WHERE id = ?"""
WANT_UNDO = """
INSERT INTO undos (execution, context, state, cause, who, reason, asked_at)
VALUES (:seq, :context, 'wanted', :cause, :who, :reason, :now)
ON CONFLICT (execution) DO UPDATE SET state = 'wanted', cause = excluded.cause, who = excluded.who,
    reason = excluded.reason, asked_at = excluded.asked_at, ended_at = NULL, message = NULL
WHERE undos.state NOT IN ('running', 'done')"""
CLOSE_ARMED = """
UPDATE undos INDEXED BY undos_armed SET state = 'wanted', cause = :cause, asked_at = :now
WHERE state = 'armed' AND on_closed AND context = :context"""
CLOSE_OPEN = """
UPDATE executions INDEXED BY executions_open SET problem_closed = TRUE
WHERE state <> 'finished' AND context = ? AND NOT problem_closed"""
_UNDO = ", ".join(f"undos.{name}" for name in rows.UNDO)
_DUE_UNDO = f"{_UNDO}, {', '.join(f'executions.{name}' for name in rows.EXECUTION)}"
_NEWER = """effects AS mine
JOIN effects AS newer INDEXED BY effects_of_target
    ON newer.target = mine.target AND newer.admitted_at > mine.admitted_at"""
# What nobody ordered comes after the undo of what acted on the same target later.
_MAY_COME = f"""
(undos.who IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM {_NEWER}
    JOIN undos AS later ON later.execution = newer.execution AND later.ended_at IS NULL
    WHERE mine.execution = undos.execution))"""  # noqa: S608
DUE_UNDOS = f"""
SELECT {_DUE_UNDO} FROM (
    SELECT * FROM undos INDEXED BY undos_open WHERE ended_at IS NULL AND state = 'wanted'
    UNION ALL
    SELECT * FROM undos INDEXED BY undos_open
    WHERE ended_at IS NULL AND state = 'armed' AND due_at <= ?) AS undos
JOIN executions ON executions.seq = undos.execution
WHERE {_MAY_COME}
ORDER BY undos.who IS NULL, coalesce(undos.asked_at, undos.due_at), seq DESC LIMIT ?"""  # noqa: S608
UNDOS_BEGUN = f"""
SELECT {_DUE_UNDO} FROM undos INDEXED BY undos_open
JOIN executions ON executions.seq = undos.execution
WHERE undos.ended_at IS NULL AND undos.state = 'running'"""  # noqa: S608
OVERTAKEN = f"""
SELECT executions.id FROM {_NEWER}
JOIN executions ON executions.seq = newer.execution
WHERE mine.execution = (SELECT seq FROM executions WHERE id = ?)
    AND newer.judged = 'helped'
    AND newer.execution NOT IN (SELECT execution FROM undos WHERE state = 'done')
ORDER BY newer.admitted_at DESC LIMIT 1"""  # noqa: S608
BEGIN_UNDO = f"""
UPDATE undos SET state = 'running', cause = coalesce(cause, :cause),
    asked_at = coalesce(asked_at, :now)
WHERE execution = (SELECT seq FROM executions WHERE id = :id) AND ended_at IS NULL
    AND (state = 'running' OR {_MAY_COME})"""  # noqa: S608
PUT_OFF_UNDO = """
UPDATE undos SET state = 'wanted'
WHERE execution = (SELECT seq FROM executions WHERE id = ?) AND ended_at IS NULL"""
END_UNDO = """
UPDATE undos SET state = :state, message = :message, ended_at = :now
WHERE execution = (SELECT seq FROM executions WHERE id = :id) AND ended_at IS NULL"""
UNDO_OF = f"""
SELECT {_UNDO} FROM undos
WHERE execution = (SELECT seq FROM executions WHERE id = ?)"""  # noqa: S608


def records_where(conditions: Sequence[str], index: str = "") -> str:
    """Records that meet conditions of ours, newest first."""
    which = " AND ".join(("seq < :before", *conditions))
    found = f"{_RECORD} FROM executions {index} WHERE {which}"
    return f"SELECT {found} ORDER BY seq DESC LIMIT :limit"
