"""What a policy says of CPU and memory: how it is written, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from keptn_remedy import Change
from keptn_remedy.guardrails.container_sizes import broken_limit
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.guardrails.units import amount
from keptn_remedy_actions.cluster.amounts import parsed

HERE = Scope("sockshop", "production", "carts", "resize")


def limit(settings: str, field: str, before: Any, after: Any) -> str | None:
    """The limit that a change of the field breaks, in the words of the refusal."""
    rules = Rules(Policy.load(f"version: 1\nrules: [{{name: sizes, {settings}}}]"))
    changes = (Change("a", "number", 1, 2), Change("a", field, before, after))
    broken = broken_limit(rules.resolve(HERE), changes)
    return f"{broken.setting}: {broken.limit}" if broken else None


@pytest.mark.parametrize(
    ("settings", "field", "before", "after", "expected"),
    [
        ("memory_at_most: 2Gi", "memory limit of main in 2 pods", "1Gi", "2Gi", None),
        ("memory_at_most: 2Gi", "memory limit of main", "1Gi", "2049Mi", "memory_at_most: "),
        ("memory_at_most: 2Gi", "memory limit of main", "4Gi", "3Gi", None),
        ("memory_at_most: 2Gi", "memory request of main", None, "3Gi", "memory_at_most: "),
        ("memory_at_most: 2Gi", "cpu limit of main", "1", "9", None),
        ("memory_at_most: 2Gi", "replicas", 1, 2**40, None),
        ("cpu_at_most: 1.5", "cpu limit of main", "1", "1500m", None),
        ("cpu_at_most: 1500m", "cpu limit of main", "1", "1501m", "cpu_at_most: at most 1500m"),
        ("cpu_step: x2", "cpu request of main", "100m", "200m", None),
        ("cpu_step: x2", "cpu request of main", "100m", "201m", "cpu_step: a step of at most x2"),
        ("cpu_step: x2", "cpu request of main", "100m", "50m", None),
        ("cpu_step: x2", "cpu request of main", "100m", "49m", "cpu_step: "),
        # resize rounds what is relative up, to 1m and 1Mi: +30% is within a step of +30%.
        ('memory_step: "+30%"', "memory limit of main", "256Mi", "333Mi", None),
        ('memory_step: "+30%"', "memory limit of main", "256Mi", "334Mi", "memory_step: "),
        ("memory_step: 30%", "memory limit of main", "256Mi", "179Mi", None),
        ("memory_step: 30%", "memory limit of main", "256Mi", "178Mi", "memory_step: "),
        ("memory_step: 30%", "memory limit of main", "1000", "1300", None),
        ("memory_step: 30%", "memory limit of main", "1000", "1301", "memory_step: "),
        ("memory_step: x2", "memory limit of main", "unknown", "9Gi", None),
        (
            "memory_step: x2",
            "memory limit of main",
            "1Gi",
            "no amount",
            "memory_step: an amount that",
        ),
        ("memory_at_most: 2Gi", "memory limit of main", "1Gi", ".5Gi", "memory_at_most: an amount"),
        ("memory_at_most: 2Gi", "memory limit of main", "1Gi", "9" * 17, "memory_at_most: at most"),
        ("memory_at_most: 2Gi", "memory limit of main", "1Gi", None, None),
        ("memory_at_most: null, cpu_step: null", "memory limit of main", "1Gi", "9Gi", None),
    ],
)
def test_containers_may_become_as_large_as_the_rule_says(
    settings: str, field: str, before: Any, after: Any, expected: str | None
) -> None:
    found = limit(settings, field, before, after)
    assert (found is None) == (expected is None), found
    assert (found or "").startswith(expected or "")


@pytest.mark.parametrize(
    "written", ["1", "500m", "1.5", "2Gi", "128Mi", "1e3", "1E3", "1E", "5k", "100n", "7u", "3M"]
)
def test_an_amount_is_read_as_the_action_reads_it(written: str) -> None:
    assert amount(written).number == parsed(written)
    assert str(amount(written)) == written


def test_a_number_is_an_amount() -> None:
    assert (amount(2).number, amount(0.5).number) == (Fraction(2), Fraction(1, 2))


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ("memory_at_most: 2GB", "must be an amount of more than 0, as Kubernetes writes it: 500m,"),
        ("cpu_at_most: 0", "must be an amount of more than 0"),
        ("cpu_at_most: 0e3", "must be an amount of more than 0"),
        ("cpu_at_most: true", "must be an amount of more than 0"),
        ("cpu_at_most: -1", "must be an amount of more than 0"),
        ("memory_step: 512Mi", "must be a step: x2, \"+30%\" or 30%; it says '512Mi'"),
        ("cpu_step: 2", "must be a step"),
        ("cpu_step: x1", "must be more than x1"),
        ("memory_step: -30%", "must be a step"),
        ("memory: 30%", "there is no 'memory'; did you mean memory_step?"),
        ("cpu: x2", "there is no 'cpu'; did you mean cpu_step?"),
        ("memory_max: 2Gi", "there is no 'memory_max'; did you mean memory_"),
    ],
)
def test_a_mistake_is_said_in_words(settings: str, mistake: str) -> None:
    with pytest.raises(PolicyError) as told:
        Policy.load(f"version: 1\nrules: [{{name: sizes, {settings}}}]")
    assert mistake in str(told.value)
