"""Cuts texts that are too long, with a visible mark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic_core import to_jsonable_python

MAX_MESSAGE_CHARACTERS: Final = 2_000
MAX_DETAILS_BYTES: Final = 64 * 1024
# With it a report stays below `MAX_REPORT_BYTES`.
MAX_DATA_BYTES: Final = 20_000
CUT: Final = " … (cut)"


def shortened(text: str, most: int = MAX_MESSAGE_CHARACTERS) -> str:
    """The text in so many characters; one that was cut ends in `CUT`."""
    return text if len(text) <= most else f"{text[: most - len(CUT)]}{CUT}"


def task_data(details: Mapping[str, Any]) -> dict[str, Any]:
    """What goes under `data.<task>`, as JSON. It is not cut: whoever reads it needs all of it.

    Raises:
        ValueError: it can't be written as JSON, such as a NaN, or in `MAX_DATA_BYTES`.
    """
    data: dict[str, Any] = to_jsonable_python(dict(details), inf_nan_mode="constants")
    json.dumps(data, allow_nan=False)
    size = len(orjson.dumps(data))
    if size > MAX_DATA_BYTES:
        raise ValueError(f"its details have {size:,} bytes, and {MAX_DATA_BYTES:,} are allowed")
    return data


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
