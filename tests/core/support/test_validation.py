"""Messages about invalid values are in plain words, without the value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    TypeAdapter,
    ValidationError,
)

from keptn_remedy.support.validation import in_words, place


class _Door(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int


@dataclass
class _Room:
    doors: int


class _Colour(Enum):
    RED = "red"
    BLUE = "blue"


class _Cat(BaseModel):
    kind: Literal["cat"]


class _Dog(BaseModel):
    kind: Literal["dog"]


class Lift(BaseModel):
    Size: _Door | int


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("Input should be odd")
    return number


def messages(kind: Any, value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return [in_words(error) for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "secret", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "secret", "must be a number"),
        (bool, "secret", "must be true or false"),
        (str, 1, "must be text"),
        (list[str], "secret", "must be a list"),
        (dict[str, str], "secret", "must be a map"),
        (Path, 1, "must be a path"),
        (HttpUrl, "secret", "must be a URL, such as http://host:8080"),
        (HttpUrl, "ftp://secret", "must be a URL that begins with http or https"),
        (Literal["a", "b", "c"], "secret", "must be a, b or c"),
        (Annotated[str, Field(max_length=3)], "secret", "must not be longer than 3 characters"),
        (Annotated[str, Field(min_length=9)], "secret", "must have at least 9 characters"),
        (Annotated[str, Field(pattern="^[a-d]$")], "secret", "must match ^[a-d]$"),
        (Annotated[list[int], Field(max_length=0)], [1], "must not have more than 0 entries"),
        (Annotated[int, Field(gt=100_000)], 1, "must be more than 100000"),
        (Annotated[float, Field(ge=0.5)], 0, "must be 0.5 or more"),
        (Annotated[float, Field(lt=3600.0)], 1e9, "must be less than 3600"),
        (Annotated[timedelta, Field(le=timedelta(1))], 1e9, "must be 1 day or less"),
        (datetime, "secret", "must be a time, such as 2026-03-02T14:03:20Z"),
        (AwareDatetime, datetime(2026, 1, 1), "must have a time zone, such as"),  # noqa: DTZ001
        (_Door, {}, "is missing"),
        (_Door, {"width": 1, "secret": 1}, "there is no such field"),
        (Annotated[int, AfterValidator(_odd)], 2, "Input should be odd"),
        (UUID, "secret", "must be a valid UUID"),
        (bytes, 1, "must be text"),
        (_Door, "secret", "must be a map"),
        (_Room, "secret", "must be a map"),
        (set[int], "secret", "must be a list"),
        (_Colour, "secret", "must be red or blue"),
        (type[int], "secret", "can't be read as what it must be"),
        (Annotated[str, Field(max_length=1)], "secret", "must not be longer than 1 character"),
        (Annotated[list[int], Field(min_length=1)], [], "must have at least 1 entry"),
        (
            Annotated[_Cat | _Dog, Field(discriminator="kind")],
            {"kind": "secret"},
            "kind must be one of cat, dog",
        ),
        (Annotated[_Cat | _Dog, Field(discriminator="kind")], {}, "kind is missing"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(kind: Any, value: object, message: str) -> None:
    (said,) = messages(kind, value)
    assert said.startswith(message)
    assert "secret" not in said


@pytest.mark.parametrize(
    ("kind", "value", "places"),
    [
        (_Door | Lift, {}, ["width", "Size"]),
        (Lift, {"Size": {}}, ["Size.width", "Size"]),
        (dict[str, int | list[int]], {"Width": "secret"}, ["Width", "Width"]),
        (dict[int, int], {"secret": 1}, ["secret"]),
        (list[_Door | None], [{"width": 1}, {}], ["1.width"]),
        (Annotated[int, Field(ge=1)] | str, [], ["", ""]),
        (_Door, {"width": 1, "Height": 2}, ["Height"]),
    ],
)
def test_a_place_is_named_as_it_was_written(kind: Any, value: Any, places: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert [".".join(place(error, value)) for error in caught.value.errors()] == places
