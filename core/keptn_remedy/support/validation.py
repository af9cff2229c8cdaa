"""Pydantic's errors, worded like all other messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "path_type": "must be a path",
    "url_type": "must be a URL",
    "url_parsing": "must be a URL, such as http://host:8080",
    "url_scheme": "must be a URL that begins with {expected_schemes}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must not be longer than {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must not have more than {max_length} entries",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "timezone_aware": "must have a time zone, such as 2026-03-02T14:03:20Z",
    "datetime_type": "must be a time, such as 2026-03-02T14:03:20Z",
    "datetime_parsing": "must be a time, such as 2026-03-02T14:03:20Z",
    "datetime_from_date_parsing": "must be a time, such as 2026-03-02T14:03:20Z",
}


def in_words(error: Any) -> str:
    """The message for one of `ValidationError.errors()`, without the value."""
    words = _WORDS.get(error["type"])
    if words is None:
        return _plain(error["type"], error["msg"])
    return words.format(**{name: _shown(name, v) for name, v in error.get("ctx", {}).items()})


def _plain(kind: str, message: str) -> str:
    if kind in ("value_error", "assertion_error"):  # a message of ours or of an action's author
        return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return re.sub(r"^(\w+ )?[Ii]nput should |^[A-Z]\w* should ", "must ", message)


def _shown(name: str, value: object) -> object:
    if name.startswith("expected"):
        return str(value).replace("'", "")
    return f"{value:.15g}" if isinstance(value, float) else value
