"""What is read off an expression of PromQL."""

from __future__ import annotations

import pytest

from keptn_remedy.standalone.promql import compared, comparison, doubts, selectors


@pytest.mark.parametrize(
    ("expression", "side", "series"),
    [
        ("errors > 5", "errors", ["errors"]),
        ("(errors > 5)", "errors", ["errors"]),
        ("0.05 < rate(errors[1m])", "rate(errors[1m])", ["errors"]),
        ("up == 0", "up", ["up"]),
        (
            'sum by (pod) (rate(e{a=~"b(c"}[5m] offset 1m)) / on(pod) sum(rate(f[5m])) > 0.1',
            'sum by (pod) (rate(e{a=~"b(c"}[5m] offset 1m)) / on(pod) sum(rate(f[5m]))',
            ['e{a=~"b(c"}', "f"],
        ),
        ("sum(a) by (x) > 3", "sum(a) by (x)", ["a"]),
        ('{__name__="x"} > 1', '{__name__="x"}', ['{__name__="x"}']),
        ('absent(up{job="a"})', "", ['up{job="a"}']),
        ("a > 1 and b < 2", "", ["a", "b"]),
        ("vector(1)", "", []),
    ],
)
def test_what_a_rule_measures_and_of_which_series(
    expression: str, side: str, series: list[str]
) -> None:
    assert compared(expression).measured == side
    assert selectors(expression) == series


@pytest.mark.parametrize(
    ("expression", "bound"),
    [
        ("errors > 5", 5.0),
        ("0.05 < rate(errors[1m])", 0.05),
        ("a > b", None),
        ("absent(up)", None),
    ],
)
def test_the_number_that_a_rule_compares_with(expression: str, bound: float | None) -> None:
    assert compared(expression).bound == bound


@pytest.mark.parametrize(
    ("want", "value", "holds"),
    [("< 0.01", 0.009, True), ("<0.01", 0.01, False), (">= 3", 3, True), ("= 1", 1, True)],
)
def test_a_value_is_compared_here(want: str, value: float, holds: bool) -> None:
    found = comparison(want)
    assert found
    assert found.holds(value) is holds


@pytest.mark.parametrize("want", ["", "0.01", "< x", "<", "< 1e400", "=< 3", "< 1 or > 3"])
def test_what_compares_with_no_number_is_no_comparison(want: str) -> None:
    assert comparison(want) is None


def test_what_makes_missing_data_a_number_is_told() -> None:
    assert len(doubts("sum(a > bool 3) or vector(0)")) == 2
    assert doubts('sum(rate(bool_total{a="or vector"}[5m]))') == []
