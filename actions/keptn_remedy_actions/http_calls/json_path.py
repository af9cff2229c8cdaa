"""Reads one place of a JSON document: the singular queries of JSONPath (RFC 9535 §2.3.5.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_SEGMENT = re.compile(
    r"\.(?P<name>[^\W\d][\w-]*)"
    r"|\[\s*(?:(?P<index>0|-?[1-9]\d{0,8})"
    r"|'(?P<single>(?:[^'\\]|\\['\\])*)'"
    r'|"(?P<double>(?:[^"\\]|\\["\\])*)")\s*\]'
)


class Nothing:
    """What a path finds where the document has no such place."""

    def __str__(self) -> str:
        return "nothing"


NOTHING = Nothing()


@lru_cache(maxsize=256)
def read(path: str) -> tuple[str | int, ...]:
    """The names and indexes of a path such as `$.items[0]['state']`.

    Raises:
        ValueError: it is no such path. Filters, slices and wildcards are not supported.
    """
    at, keys = 1, list[str | int]()
    while path.startswith("$") and (found := _SEGMENT.match(path, at)):
        at = found.end()
        quoted = found["single"] if found["single"] is not None else found["double"]
        if found["index"]:
            keys.append(int(found["index"]))
        else:
            keys.append(found["name"] or re.sub(r"\\(.)", r"\1", quoted or ""))
    if not path.startswith("$") or at != len(path):
        raise ValueError(f"{path!r} is not a path such as $.state or $.items[0]['state']")
    return tuple(keys)


def value_at(path: str, document: Any) -> Any:
    """The value at the path; `NOTHING` where there is none."""
    found: Any = document
    for key in read(path):
        try:
            is_name, is_map = isinstance(key, str), isinstance(found, dict)
            found = found[key] if is_name == is_map and not isinstance(found, str) else NOTHING
        except (KeyError, IndexError, TypeError):
            return NOTHING
    return found
