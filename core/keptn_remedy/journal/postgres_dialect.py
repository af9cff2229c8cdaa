"""All that PostgreSQL is told otherwise than SQLite: the statements of `statements`, translated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from keptn_remedy.journal import episode_folding, episode_rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.postgres_owner import FREED, IS_MINE, ME, MINE_OR_FREE

# What SQLite reads from JSON has a column, or a function.
_PARTS = {
    sql.VERDICT: "verdict",
    sql.RAIL: "detail(details, 'rail')",
    sql.RULE: "detail(details, 'rule')",
}
_OF_LANE = """SELECT seq FROM executions
        WHERE state <> 'finished' AND lane = asked.value ORDER BY seq LIMIT 1"""
_OPEN, _UNSENT = "state <> 'finished'", "state = 'unsent'"
_HELD_BY_NOBODY_ELSE = f"""NOT EXISTS (SELECT 1 FROM targets
    WHERE targets.execution = undos.execution AND replica <> {ME})"""  # noqa: S608  our names
_AMONG_HEADS = "seq IN (SELECT value FROM json_each(:heads))"
_DIFFERENT = {
    # Whether the plan has changes is looked up before. Nothing else tells the types.
    sql.ARM: """
INSERT INTO undos (execution, context, state, on_closed, due_at, cause, asked_at)
SELECT seq, context,
    CASE WHEN :on_closed::boolean AND problem_closed THEN 'wanted' ELSE 'armed' END,
    :on_closed::boolean, :due_at::float8,
    CASE WHEN :on_closed::boolean AND problem_closed THEN :cause::text END,
    CASE WHEN :on_closed::boolean AND problem_closed THEN :now::float8 END
FROM executions WHERE seq = :seq AND finished_at = :now AND failure IS NULL
ON CONFLICT DO NOTHING""",
    # The last word of a stored question says whether it was heeded.
    sql.ADMIT: """
UPDATE executions SET plan = :1, runs = greatest(runs, 1), question = CASE
    WHEN verdict IS NULL THEN NULL
    WHEN substring(question FROM length(question) - 5) = 'false}'::bytea
        THEN substring(question FOR length(question) - 6) || 'true}'::bytea
    ELSE question END
WHERE seq = :2""",
    sql.ASK: f"""
UPDATE executions SET question = :question, verdict = :verdict, runs = 0
WHERE seq = :seq AND state <> 'finished' AND {IS_MINE}""",  # noqa: S608  our names
    sql.ANSWER: """
UPDATE executions SET question = :question, verdict = :verdict
WHERE seq = :seq AND state <> 'finished'""",
    sql.DROP_QUESTION: """
UPDATE executions SET question = NULL, verdict = NULL WHERE seq = :1 AND status = 'aborted'""",
    # Locked until the change is stored: nobody takes it over, or answers it, in between.
    sql.IS_ADMITTED: f"{sql.IS_ADMITTED} AND {IS_MINE} FOR UPDATE",
    sql.ASKED: f"{sql.ASKED} FOR UPDATE",
    sql.ASKED_BY_OPEN: f"{sql.ASKED_BY_OPEN} AND {IS_MINE} FOR UPDATE",
    # Two alerts of one episode may reach two replicas at once.
    episode_folding.OPEN_OF_KEY: f"{episode_folding.OPEN_OF_KEY} FOR UPDATE",
    sql.AGAIN: f"{sql.AGAIN} AND {IS_MINE}",
    sql.SET_TIMER: f"{sql.SET_TIMER} AND {IS_MINE}",
    sql.NOTE_WAITING: f"{sql.NOTE_WAITING} AND {IS_MINE}",
    sql.NOTE_LEFT: f"{sql.NOTE_LEFT} AND {IS_MINE}",
    sql.FINISH: f"{sql.FINISH} AND {IS_MINE}",
    sql.KEEP_FAILURE: f"{sql.KEEP_FAILURE} AND {IS_MINE}",
    sql.POSTPONE: f"{sql.POSTPONE} AND {IS_MINE}",
    # Whoever holds the targets carries the undo out, until its lease has ended.
    sql.UNDOS_BEGUN: f"""{sql.UNDOS_BEGUN}
    AND NOT EXISTS (SELECT 1 FROM targets JOIN replicas ON no = replica
        WHERE targets.execution = undos.execution AND NOT ended)""",  # noqa: S608
    sql.PUT_OFF_UNDO: f"{sql.PUT_OFF_UNDO} AND {_HELD_BY_NOBODY_ELSE}",
    sql.END_UNDO: f"{sql.END_UNDO} AND {_HELD_BY_NOBODY_ELSE}",
    # What another replica holds is no concern of this one, and nothing overtakes it.
    sql.OPEN_AFTER: sql.OPEN_AFTER.replace(_OPEN, f"{_OPEN} AND {MINE_OR_FREE}"),
    sql.CLAIMABLE: sql.CLAIMABLE.replace(
        _AMONG_HEADS,
        f"""{_AMONG_HEADS} AND {MINE_OR_FREE}
    AND NOT EXISTS (SELECT 1 FROM executions AS other
        WHERE other.lane = executions.lane AND other.state <> 'finished'
            AND (other.seq < executions.seq OR other.owner NOT IN ({FREED}, {ME})))""",  # noqa: S608
    ),
    sql.DUE_REPORTS: sql.DUE_REPORTS.replace(_UNSENT, f"{_UNSENT} AND {MINE_OR_FREE}", 1),
    sql.NEXT_DUE: sql.NEXT_DUE.replace(_UNSENT, f"{_UNSENT} AND {MINE_OR_FREE}", 1),
    sql.UNSENT: f"{sql.UNSENT} AND {MINE_OR_FREE}",
    sql.HEADS: f"""
SELECT value, ({_OF_LANE}), ({_OF_LANE} OFFSET 1)
FROM unnest(:1::text[]) AS asked(value)""",  # noqa: S608  our names
    sql.PARKED: """
SELECT seq FROM reports
WHERE state = 'parked' AND (:execution::text IS NULL OR execution = :execution)
ORDER BY seq""",
    episode_rows.NOTES: episode_rows.NOTES.replace("rowid", "seq"),
    sql.DOUBT: """
UPDATE reports SET doubtful = TRUE, due_at = greatest(due_at, :1) WHERE state = 'unsent'""",
}
_INDEX = re.compile(r" (?:NOT INDEXED|INDEXED BY \w+)|\nINDEXED BY \w+")
# What the index of all that are open asks for.
_BY_OPEN = re.compile(r"( INDEXED BY executions_open\b.*?state <> 'finished')", re.DOTALL)
_IN_LIST = re.compile(r"(NOT )?IN \(SELECT value FROM json_each\((\?|:\w+)\)\)")
# A place that is named, numbered, or the next one; `::` is a cast.
_PLACE = re.compile(r"(?<!:):([a-z_]+|\d+)|\?(\d*)")
_NUMBERED_BY_SEQ = re.compile(r"\s*INSERT INTO (executions|reports|episodes) ")


class Translated(NamedTuple):
    """A statement for PostgreSQL; the names whose values are bound, in order, None where they come
    by place; and whether it returns the `seq` of what it inserted.
    """

    text: str
    names: tuple[str, ...] | None
    returns_seq: bool

    def bound(self, given: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any]:
        """The values in the order of the places."""
        if isinstance(given, Mapping):
            return [given[name] for name in self.names or ()]
        return given


@cache
def translated(statement: str) -> Translated:
    """What PostgreSQL is told instead."""
    text = _DIFFERENT.get(statement, statement)
    for part, other in _PARTS.items():
        text = text.replace(part, other)
    text = _BY_OPEN.sub(r"\1 AND executions.seq > 0", text)
    text = _IN_LIST.sub(_any_or_all, _INDEX.sub("", text))
    names: dict[str, None] = {}
    places = 0

    def place(found: re.Match[str]) -> str:
        nonlocal places
        word, number = found[1], found[2]
        if word and not word.isdigit():
            names[word] = None
            return f"${[*names].index(word) + 1}"
        if word or number:
            return f"${word or number}"
        places += 1
        return f"${places}"

    text = _PLACE.sub(place, text)
    returns_seq = bool(_NUMBERED_BY_SEQ.match(text))
    if returns_seq:
        text += " RETURNING seq"
    return Translated(text, tuple(names) or None, returns_seq)


def _any_or_all(found: re.Match[str]) -> str:
    return f"<> ALL({found[2]})" if found[1] else f"= ANY({found[2]})"
