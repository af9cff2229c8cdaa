"""Lists in the journal's memory that another release may have written."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from keptn_remedy.action import JSON

T = TypeVar("T")


def entries(kind: type[T], found: JSON) -> list[T]:
    """What was remembered as a list of these dataclasses. Fields that the class lacks are ignored,
    and entries that can't be read are left out: a newer release may run beside this one, or have
    run before it.
    """
    kept = list[T]()
    if not isinstance(found, list):
        return kept
    read = cast("TypeAdapter[T]", _adapter(cast("Any", kind)))
    for each in cast("Iterable[Any]", found):
        try:
            kept.append(read.validate_python(each))
        except ValidationError:
            continue
    return kept


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
