"""Edits of one member of an object in a JSON text; every other byte stays as it was.

All take a text that was parsed before, and the index at which the object begins.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\n\r]*")
_VALUE = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Member:
    """Where a key and its value are in the text."""

    key: str
    start: int
    value: int
    end: int


def first(text: str) -> int:
    """The index at which the text's value begins."""
    return _after_space(text, 0)


def members(text: str, start: int) -> list[Member]:
    """All members of the object, in their order."""
    found: list[Member] = []
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key, end = _VALUE.raw_decode(text, at)
        value = _after_space(text, _after_space(text, end) + 1)  # behind the colon
        _, end = _VALUE.raw_decode(text, value)
        found.append(Member(key, at, value, end))
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found


def member(text: str, start: int, key: str) -> Member | None:
    """The member with that key: of a doubled one the last, which is the one that counts."""
    return next((each for each in reversed(members(text, start)) if each.key == key), None)


def with_member(text: str, start: int, key: str, value: str) -> str:
    """The text whose object, which is not empty, has this value, written so, under the key."""
    if found := member(text, start, key):
        return f"{text[: found.value]}{value}{text[found.end :]}"
    *others, last = members(text, start)
    comma = text[others[-1].end : last.start] if others else f",{text[start + 1 : last.start]}"
    colon = text[_VALUE.raw_decode(text, last.start)[1] : last.value]
    return f"{text[: last.end]}{comma}{json.dumps(key)}{colon}{value}{text[last.end :]}"


def without_member(text: str, start: int, key: str) -> str:
    """The text whose object, which has other members too, lacks the key."""
    found = members(text, start)
    for index, each in enumerate(found):
        if each.key == key:
            begin, end = (found[index - 1].end, each.end) if index else (each.start, found[1].start)
            # Once more, as a key may be doubled.
            return without_member(text[:begin] + text[end:], start, key)
    return text


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
