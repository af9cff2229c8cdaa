"""Amounts of CPU and memory: what is read, what is computed, and how it is written."""

from fractions import Fraction
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keptn_remedy_actions.cluster.amounts import (
    Resource,
    grain_of,
    parsed,
    read_amount,
    written,
)
from keptn_remedy_actions.cluster.resize_value import ResizeSettings, ResizeValue


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("1.5", Fraction(3, 2)),
        ("500m", Fraction(1, 2)),
        ("100u", Fraction(1, 10_000)),
        ("1e3", 1000),
        ("1E-3", Fraction(1, 1000)),
        ("1Ki", 1024),
        ("256Mi", 256 * 1024**2),
        ("1k", 1000),
        ("1E", 10**18),
        (2, 2),
        (0.5, Fraction(1, 2)),
    ],
)
def test_amounts_are_read_as_kubernetes_reads_them(text: Any, amount: Any) -> None:
    assert parsed(text) == amount


@pytest.mark.parametrize(
    ("resource", "asked", "before", "after"),
    [
        ("cpu", "x2", "100m", "200m"),
        ("cpu", "+30%", "101m", "132m"),
        ("cpu", 2, "100m", "2"),
        ("cpu", "0.5", "100m", "500m"),
        ("cpu", "+500m", "1500m", "2"),
        ("cpu", "x1000", "1", "1k"),
        ("memory", "+30%", "256Mi", "333Mi"),
        ("memory", "+512Mi", "512Mi", "1Gi"),
        ("memory", "50%", "1Gi", "512Mi"),
        ("memory", "-25%", "1Gi", "768Mi"),
        ("memory", "500M", "1Gi", "500M"),
        ("memory", "1000Ki", "1Gi", "1000Ki"),
        ("memory", 1_000_001, "1Gi", "1000001"),
        ("memory", "x1.5", "100M", "144Mi"),
    ],
)
def test_what_is_asked_for_is_written_in_the_one_form(
    resource: Resource, asked: Any, before: str, after: str
) -> None:
    there = parsed(before)
    assert written(resource, read_amount(asked).of(there, grain_of(resource, there))) == after


@pytest.mark.parametrize(
    "sent",
    [
        *("", "many", "2 GB", "1Gb", "1GB", "1.Mi", ".5", "1e3Mi", "1e999", "NaN", "inf", "0x10"),
        *("1_000", "0", 0, "0Mi", "x0", "-100%", "-150%", "x-1", "+", "++1", "9999999999E"),
        *(True, [], {}),
    ],
)
@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_bad_amounts_are_refused(resource: str, sent: Any) -> None:
    with pytest.raises(ValidationError, match=resource):
        TypeAdapter(ResizeValue).validate_python({resource: sent})


def test_something_must_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="give `cpu` or `memory`"):
        TypeAdapter(ResizeValue).validate_python({})


@pytest.mark.parametrize("most", ["0", "much", "-1"])
def test_bad_ceilings_turn_it_off(most: str) -> None:
    given: Any = {"service_host": "h", "service_port": "1", "resize_most_memory": "1Gi"}
    with pytest.raises(ValidationError):
        ResizeSettings(**{**given, "resize_most_cpu": most})


@pytest.mark.parametrize("step", ["", "x1", "x0.5", "-30%", "50%", "2", "+100m"])
def test_bad_steps_turn_it_off(step: str) -> None:
    given: Any = {"service_host": "h", "service_port": "1", "resize_most_memory": "1Gi"}
    with pytest.raises(ValidationError):
        ResizeSettings(**{**given, "resize_most_cpu": "1", "resize_step_cpu": step})
