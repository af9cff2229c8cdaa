"""Rows of the tables of episodes, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import orjson

from keptn_remedy.journal.episode_values import Episode, Member, Note, Rung

_COLUMNS = {"handle": "seq", "key": "alert_key", "index": "rung"}
_IN_JSON = {"names", "labels", "annotations", "remedy", "numbers"}
# News has an episode looked at, but a time that has to pass first is not cut short.
LOOK_NOW = "CASE WHEN state IN ('open', 'settling') OR due_at < :now THEN due_at ELSE :now END"
NOTE = "INSERT INTO episode_notes (episode, at, state, text) VALUES (?, ?, ?, ?)"


def column(field: str) -> str:
    """The column that holds a field of a value."""
    return _COLUMNS.get(field, field)


def stored(value: Any) -> Any:
    """A value as its column holds it: maps and lists as JSON."""
    if value is None or isinstance(value, str | int | float):
        return value
    return orjson.dumps(value, default=str).decode()


_EPISODE_FIELDS = tuple(each.name for each in fields(Episode))
_RUNG_FIELDS = tuple(each.name for each in fields(Rung))
EPISODE = ", ".join(map(column, _EPISODE_FIELDS))
RUNG = ", ".join(map(column, _RUNG_FIELDS))
RUNG_BOUND = ", ".join(f":{name}" for name in _RUNG_FIELDS)
RUNG_SET = ", ".join(f"{column(name)} = excluded.{column(name)}" for name in _RUNG_FIELDS)
RUNGS = f"SELECT {RUNG} FROM episode_rungs WHERE episode = ? ORDER BY number"  # noqa: S608
MEMBERS = """
SELECT fingerprint, firing, starts_at, seen_at, labels FROM episode_members
WHERE episode = ? ORDER BY fingerprint"""
NOTES = "SELECT at, state, text FROM episode_notes WHERE episode = ? ORDER BY at, rowid"


def episode(row: Sequence[Any]) -> Episode:
    found: dict[str, Any] = dict(_values(_EPISODE_FIELDS, row))
    found["in_storm"] = bool(found["in_storm"])
    return Episode(**found)


def rung(row: Sequence[Any]) -> Rung:
    found: dict[str, Any] = dict(_values(_RUNG_FIELDS, row))
    found["acted"] = bool(found["acted"])
    return Rung(**found)


def member(row: Sequence[Any]) -> Member:
    fingerprint, firing, starts_at, seen_at, labels = row
    return Member(
        fingerprint=fingerprint,
        is_firing=bool(firing),
        starts_at=starts_at,
        seen_at=seen_at,
        labels=orjson.loads(labels),
    )


def note(row: Sequence[Any]) -> Note:
    return Note(*row)


def rung_bound(value: Rung, handle: int) -> dict[str, Any]:
    """What a statement that stores a rung binds."""
    bound = {name: stored(getattr(value, name)) for name in _RUNG_FIELDS}
    return {**bound, "episode": handle}


def _values(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(names, row, strict=True))
    for name in _IN_JSON & found.keys():
        if found[name] is not None:
            found[name] = orjson.loads(found[name])
    if "names" in found:
        found["names"] = tuple(found["names"])
    return found
