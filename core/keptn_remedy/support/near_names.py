"""The name that was meant by one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6


def near(name: str, known: Iterable[str], *, similar: float = _SIMILAR) -> str:
    """A question after the known name that was meant, as the end of a sentence; "" if none is near.

    Case, `-` and `_` make no difference.
    """
    by_key: dict[str, str] = {}
    for each in known:
        by_key.setdefault(_key(each), each)
    found = difflib.get_close_matches(_key(name), by_key, n=1, cutoff=similar)
    return f"; did you mean {by_key[found[0]]}?" if found else ""


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
