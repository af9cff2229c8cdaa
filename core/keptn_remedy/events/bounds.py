"""Cuts texts that are too long, with a visible mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_DETAILS_BYTES: Final = 64 * 1024
CUT: Final = " … (cut)"


def shortened(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """The text in so many characters; one that was cut ends in `CUT`."""
    return text if len(text) <= most else f"{text[: most - len(CUT)]}{CUT}"


def bounded(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The details in `MAX_DETAILS_BYTES` of JSON: long ones are cut, and the last ones left out,
    which the key `cut` then says.
    """
    if not details or len(orjson.dumps(details)) <= MAX_DETAILS_BYTES:
        return details
    kept: dict[str, Any] = {}
    left = MAX_DETAILS_BYTES
    for name, item in details.items():
        text = item if isinstance(item, str) else orjson.dumps(item).decode()
        entry = {shortened(name, 200): shortened(text)}
        left -= len(orjson.dumps(entry))
        if left < MAX_MESSAGE_CHARACTERS:  # so that there is room for the mark
            kept["cut"] = f"{len(details) - len(kept)} of {len(details)} details were left out"
            break
        kept |= entry
    return kept
