"""The number of replicas that a value asks for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from keptn_remedy_actions.cluster.quantity import Limits, read_quantity
from keptn_remedy_actions.scale import ADDING, Scale

VALUE: TypeAdapter[Any] = TypeAdapter(Scale.Value)


def mistake(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        VALUE.validate_python(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sent", "as_scale", "as_scaling"),
    [
        (5, 5, 8),
        (2.0, 2, 5),
        ("5", 5, 8),
        ("2.0", 2, 5),
        (" 5 ", 5, 8),
        (-1, 2, 2),
        ("-1", 2, 2),
        ("+2", 5, 5),
        ("x2", 6, 6),
        ("X1.5", 5, 5),
        ("150%", 5, 5),
        ("+50%", 5, 5),
        ("-50%", 2, 2),
        ("-200%", 0, 0),
        ("110%", 4, 4),
        ("100%", 3, 3),
    ],
)
def test_a_bare_number_is_absolute_for_scale_and_an_increment_for_scaling(
    sent: Any, as_scale: int, as_scaling: int
) -> None:
    quantity = VALUE.validate_python(sent).replicas
    assert quantity.of(3, bare_adds=False) == as_scale
    assert quantity.of(3, bare_adds=True) == as_scaling


@pytest.mark.parametrize(
    ("spelling", "adds"), [("scale", False), ("scaling", True), ("Increment", True)]
)
def test_under_some_names_a_bare_number_is_added(spelling: str, adds: bool) -> None:
    assert (Scale.own_spelling(spelling) in ADDING) is adds


@pytest.mark.parametrize(
    ("sent", "wanted"), [(2, 5), ("2", 5), (" 2 ", 5), (2.0, 5), ("+2", 5), (-1, 2), ("150%", 5)]
)
def test_an_increment_in_a_map_is_added_whatever_the_action_is_called(
    sent: Any, wanted: int
) -> None:
    value = VALUE.validate_python({"increment": sent, "max": 9})
    assert value.replicas.of(3, bare_adds=False) == wanted
    assert value.max == 9
    assert "increment" not in value.foreign


@pytest.mark.parametrize("sent", [None, True, "many", {}])
def test_an_increment_that_is_no_number_is_refused(sent: Any) -> None:
    assert "number of replicas" in mistake({"increment": sent})


def test_percentages_are_exact_before_they_are_rounded_up() -> None:
    assert read_quantity("110%").of(100, bare_adds=False) == 110


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "none is not a number of replicas"),
        (True, "true is not a number of replicas"),
        (False, "false is not a number of replicas"),
        ("", "must give the number of replicas"),
        ("  ", "must give the number of replicas"),
        ({}, "must give the number of replicas"),
        ([], "must give the number of replicas"),
        ([3], "must give the number of replicas"),
        (2.5, "2.5 is not a whole number"),
        ("2.5", "'2.5' is not a number of replicas"),
        (float("nan"), "nan is not a whole number"),
        (float("inf"), "inf is not a whole number"),
        ("many", "'many' is not a number of replicas"),
        ("x-2", "'x-2' is not a number of replicas"),
        ("1e3", "'1e3' is not a number of replicas"),
        ("1_000", "'1_000' is not a number of replicas"),
        ("٣", "is not a number of replicas"),
        (3_000_000_000, "must not be more than 2147483647"),
        ("+3000000000", "must not be more than 2147483647"),
        ({"replicas": None}, "none is not a number of replicas"),
        ({"replica": 3}, "must give the number of replicas"),
        ({"replicas": 3, "namspace": "x"}, "no 'namspace'; did you mean 'namespace'?"),
        ({"replicas": 3, "min": 5, "max": 4}, "min 5 is above max 4"),
        ({"replicas": 3, "name": " "}, "must not be empty"),
        ({"replicas": 3, "min": True}, "must be a number of replicas"),
        ({"replicas": 3, "max": False}, "must be a number of replicas"),
        ({"replicas": 3, "min": -1}, "greater than or equal to 0"),
        ({"replicas": 3, "max": 0}, "greater than or equal to 1"),
        (1e300, "must not be more than 2147483647"),
    ],
)
def test_what_is_no_number_of_replicas_is_refused_with_the_reason(sent: Any, reason: str) -> None:
    assert reason in mistake(sent)


@pytest.mark.parametrize("sent", ["0", 0, "x0", "0%", "-100%"])
def test_none_at_all_is_told_from_fewer(sent: Any) -> None:
    assert read_quantity(sent).is_zero(bare_adds=False)
    assert not read_quantity("-3").is_zero(bare_adds=False)
    assert not read_quantity(0).is_zero(bare_adds=True)  # an increment of nothing


@pytest.mark.parametrize(
    ("wanted", "ordered", "clamped"),
    [
        (7, 3, 7),
        (70, 3, 50),
        (1, 3, 2),
        (62, 60, 60),  # above the ceiling already: asking for more must not remove any
        (55, 60, 50),
        (0, 1, 1),  # and below the floor asking for fewer must not add any
    ],
)
def test_a_number_is_clamped_but_never_turned_around(
    wanted: int, ordered: int, clamped: int
) -> None:
    assert Limits(2, 50).clamped(wanted, ordered) == clamped


replicas = st.integers(0, 1000)


@given(replicas, replicas, replicas, replicas)
def test_no_number_leads_past_a_limit_or_against_its_direction(
    wanted: int, ordered: int, fewest: int, more: int
) -> None:
    most = fewest + more
    clamped = Limits(fewest, most).clamped(wanted, ordered)
    assert (clamped - ordered) * (wanted - ordered) >= 0
    assert fewest <= clamped <= most or clamped == ordered
