"""The name that was meant by one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6
_CANDIDATES = 10


def near(name: str, known: Iterable[str], *, similar: float = _SIMILAR) -> str:
    """A question after the known name that was meant, as the end of a sentence; "" if none is near.

    Case, `-` and `_` make no difference. What comes after a first word that most of them share,
    such as `REMEDY_`, must be near by itself.
    """
    names = list(known)
    by_key: dict[str, str] = {}
    for each in names:
        by_key.setdefault(_key(each), each)
    first, rest = _parted(name)
    is_prefix = bool(rest) and sum(_parted(each)[0] == first for each in names) > len(names) / 2
    for key in difflib.get_close_matches(_key(name), by_key, n=_CANDIDATES, cutoff=similar):
        its_first, its_rest = _parted(by_key[key])
        is_shared = is_prefix and its_rest and its_first == first
        if not is_shared or _are_near(_key(rest), _key(its_rest), similar):
            return f"; did you mean {by_key[key]}?"
    return ""


def _parted(name: str) -> tuple[str, str]:
    """The first word, and the others."""
    first, _, rest = name.lower().replace("-", "_").partition("_")
    return first, rest


def _are_near(one: str, other: str, similar: float) -> bool:
    return difflib.SequenceMatcher(None, other, one).ratio() >= similar


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
