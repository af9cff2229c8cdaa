"""The name that was meant by one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6
_CANDIDATES = 10


def near(name: str, known: Iterable[str], *, similar: float = _SIMILAR) -> str:
    """A question after the known name that was meant, as the end of a sentence; "" if none is near.

    Case, `-` and `_` make no difference. What comes after a first word that both share, such as
    `REMEDY_`, must be near by itself.
    """
    by_key: dict[str, str] = {}
    for each in known:
        by_key.setdefault(_key(each), each)
    for key in difflib.get_close_matches(_key(name), by_key, n=_CANDIDATES, cutoff=similar):
        if _are_near(*_rests(name, by_key[key]), similar):
            return f"; did you mean {by_key[key]}?"
    return ""


def _rests(one: str, other: str) -> tuple[str, str]:
    """Both names as keys, without a first word that they share."""
    first, _, rest = one.lower().replace("-", "_").partition("_")
    its_first, _, its_rest = other.lower().replace("-", "_").partition("_")
    share = rest and its_rest and first == its_first
    return (_key(rest), _key(its_rest)) if share else (_key(one), _key(other))


def _are_near(one: str, other: str, similar: float) -> bool:
    return difflib.SequenceMatcher(None, other, one).ratio() >= similar


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
