"""An action's value in words and rows, from schemas as pydantic writes them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from keptn_remedy.cli.value_fields import fields, in_words


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    zone: str
    inside: Place | None = None


class Order(BaseModel):
    note: str | None = None
    places: list[Place] = []
    place: Place
    share: Annotated[int, Field(ge=1, le=9)] = Field(5, description="Of ten.")


def schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Any, "any value"),
        (str, "text"),
        (bool, "true or false"),
        (None, "null"),
        (int | float, "number"),
        (dict[str, bool | str] | int, "whole number, or map of true, false or text"),
        (list[int], "list of whole numbers"),
        (list[Any], "list"),
        (Literal["on", 1], '"on" or 1'),
        (Literal["on"], '"on"'),
        (Colour, '"red" or "blue"'),
        (Annotated[int, Field(ge=0)], "whole number from 0 up"),
        (Annotated[float, Field(le=1)], "number up to 1"),
        (Place, "map"),
    ],
    ids=str,
)
def test_a_value_in_words(kind: Any, words: str) -> None:
    assert in_words(schema(kind)) == words


def test_fields_come_with_type_default_and_description_the_required_ones_first() -> None:
    assert [tuple(field) for field in fields(schema(Order))] == [
        ("place", "map", "required", ""),
        ("place.zone", "text", "required", ""),
        ("place.inside", "map", "", ""),
        ("note", "text", "", ""),
        ("places", "list of maps", "[]", ""),
        ("places[].zone", "text", "required", ""),
        ("places[].inside", "map", "", ""),
        ("share", "whole number from 1 to 9", "5", "Of ten."),
    ]


def test_a_value_that_is_no_map_has_no_fields() -> None:
    assert fields(schema(int)) == []
    assert fields({}) == []
