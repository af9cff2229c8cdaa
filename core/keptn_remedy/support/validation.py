"""Pydantic's errors, worded like all other messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

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
    "mapping_type": "must be a map",
    "model_type": "must be a map",
    "model_attributes_type": "must be a map",
    "dataclass_type": "must be a map",
    "dataclass_exact_type": "must be a map",
    "is_instance_of": "can't be read as what it must be",
    "is_subclass_of": "can't be read as what it must be",
    "callable_type": "can't be read as what it must be",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "bytes_type": "must be text",
    "none_required": "must have no value",
    "enum": "must be {expected}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing",
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


_TYPES = ("bool", "bytes", "date", "datetime", "float", "int", "none", "nullable", "str")


def in_words(error: Any) -> str:
    """The message for one of `ValidationError.errors()`, without the value."""
    words = _WORDS.get(error["type"])
    if words is None:
        return _plain(error["type"], error["msg"])
    said = words.format(**{name: _shown(name, v) for name, v in error.get("ctx", {}).items()})
    return said.replace(" 1 characters", " 1 character").replace(" 1 entries", " 1 entry")


def place(error: Any, given: Any) -> tuple[str, ...]:
    """Where in what was given one of `ValidationError.errors()` is, by the names that stand there.

    Of a field that may have several types, pydantic also says which one it tried, by a name of
    Python. Those are left out.
    """
    parts: list[str] = []
    inside = given
    *_, last = error["loc"] or ("",)
    for part in error["loc"]:
        there, inside = _within(inside, part)
        is_missing = error["type"] == "missing" and part == last
        if there or is_missing or not _is_python(part):
            parts.append(str(part))
    return tuple(parts)


def _within(given: Any, part: str | int) -> tuple[bool, Any]:
    """Whether it has such a part, and the part; what was given, if not."""
    if not isinstance(given, dict | list | tuple):
        return False, given
    try:
        return True, cast("Any", given)[part]
    except (KeyError, IndexError, TypeError):
        return False, cast("Any", given)


def _is_python(part: str | int) -> bool:
    """Whether pydantic made it of a type: `Target`, `int`, `list[str]`, `[key]`."""
    if isinstance(part, int):
        return False
    is_class = part[:1].isupper() or part.startswith("_")
    return is_class or part in _TYPES or not part.isidentifier()


def _plain(kind: str, message: str) -> str:
    if kind in ("value_error", "assertion_error"):  # a message of ours or of an action's author
        return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return re.sub(r"^(\w+ )?[Ii]nput should |^[A-Z]\w* should ", "must ", message)


def _shown(name: str, value: object) -> object:
    if name in ("expected", "expected_schemes", "expected_tags", "discriminator"):
        return str(value).replace("'", "")
    return f"{value:.15g}" if isinstance(value, float) else value
