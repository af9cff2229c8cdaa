"""The types of a policy's settings: how each is parsed, and its JSON Schema."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from keptn_remedy.guardrails import units
from keptn_remedy.support.near_names import near

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Attribute = Literal["target", "action", "stage", "service"]
NotifyKind = Literal["approval", "refused", "failed", "undone", "paused", "suspended", "parked"]
"""What people are told."""

DAYS: tuple[Day, ...] = get_args(Day)
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)
NOTIFY_KINDS: tuple[NotifyKind, ...] = get_args(NotifyKind)


def _many(written: Any) -> Any:
    """A list as a tuple; pydantic rejects anything else."""
    return tuple(cast("list[object]", written)) if isinstance(written, list) else written


def _one_or_many(written: Any) -> Any:
    if isinstance(written, str):
        return (written,)
    if written is not None and not isinstance(written, list):
        raise ValueError("must be text or a list of texts; numbers, true and false need quotes")
    return _many(written)


def _without_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        meant = near(name, sorted(zoneinfo.available_timezones()))
        hint = meant or "; an example is Europe/Berlin"
        raise ValueError(f"there is no time zone {name!r}{hint}") from None
    return name


def _lower(written: Any) -> Any:
    return written.lower() if isinstance(written, str) else written


def _channels(written: Any) -> Any:
    """The channels that hear everything, or what each of them hears, as a map."""
    if isinstance(written, str):
        written = [written]
    if isinstance(written, list):
        names = cast("list[object]", written)
        if not all(isinstance(name, str) for name in names):
            raise ValueError("must be names of channels; numbers, true and false need quotes")
        return {name: [*NOTIFY_KINDS] for name in names}
    if isinstance(written, dict):
        return cast("dict[str, Any]", written)
    raise ValueError("must be a list of channels, or a map of channels to what they are told")


def _one_or_many_of(item: dict[str, Any]) -> WithJsonSchema:
    many = {"type": "array", "items": item, "minItems": 1}
    return WithJsonSchema({"anyOf": [item, many]})


def _length(pattern: str, **least: float) -> WithJsonSchema:
    number = {"type": "number", "maximum": units.LONGEST_SECONDS, **least}
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": pattern}, number]})


Many = BeforeValidator(_many)
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Zone = Annotated[str, AfterValidator(_zone)]
Glob = Annotated[str, Field(min_length=1, max_length=400)]
Globs = Annotated[
    tuple[Glob, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1, max_length=1_000),
    _one_or_many_of({"type": "string", "minLength": 1, "maxLength": 500}),
]
Days = Annotated[
    tuple[Annotated[Day, BeforeValidator(_lower)], ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_without_repeats),
    Field(min_length=1, max_length=7),
    _one_or_many_of({"enum": [*DAYS]}),
]
Per = Annotated[
    tuple[Attribute, ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_without_repeats),
    Field(min_length=1, max_length=5),
    _one_or_many_of({"enum": [*ATTRIBUTES]}),
]
Duration = Annotated[float, BeforeValidator(units.seconds), _length(units.DURATION, minimum=0)]
Positive = Annotated[
    float,
    BeforeValidator(units.seconds),
    AfterValidator(units.more_than_zero),
    _length(units.POSITIVE, exclusiveMinimum=0),
]
Step = Annotated[
    units.Step,
    BeforeValidator(units.step),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": units.STEP}, {"type": "integer", "minimum": 1}]}
    ),
]
SizeStep = Annotated[
    units.Step,
    BeforeValidator(units.size_step),
    WithJsonSchema({"type": "string", "pattern": units.STEP}),
]
Amount = Annotated[
    units.Amount,
    BeforeValidator(units.amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": units.AMOUNT},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        }
    ),
]
TimeOfDay = Annotated[
    int,
    BeforeValidator(units.minute_of_day),
    WithJsonSchema({"type": "string", "pattern": units.TIME_OF_DAY}),
]
Moment = Annotated[
    units.Moment,
    BeforeValidator(units.moment),
    WithJsonSchema({"type": "string", "pattern": units.MOMENT}),
]
_Kinds = Annotated[
    tuple[NotifyKind, ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_without_repeats),
    Field(min_length=1, max_length=10),
]
_KIND_OR_KINDS: dict[str, Any] = {
    "anyOf": [
        {"enum": [*NOTIFY_KINDS]},
        {"type": "array", "items": {"enum": [*NOTIFY_KINDS]}, "minItems": 1},
    ]
}
Channels = Annotated[
    dict[Name, _Kinds],
    BeforeValidator(_channels),
    Field(max_length=100),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
                {"type": "object", "additionalProperties": _KIND_OR_KINDS},
            ]
        }
    ),
]
