"""CPU and memory of containers: what a change makes of them, and when it is refused."""

from fractions import Fraction
from typing import Any

import pytest

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster.amounts import parsed, read_amount
from keptn_remedy_actions.cluster.containers import Bounds, Wanted, wanted

SIZE = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "200m", "memory": "256Mi"},
}
GUARANTEED = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def made(
    size: Any,
    asked: dict[str, Any],
    *,
    most: str = "4Gi",
    step: str = "x100",
    others: Any = (),
    **container: Any,
) -> Wanted:
    spec = {"containers": [{"name": "main", "resources": size, **container}, *others]}
    bounds: Any = {
        "cpu": Bounds("cpu", Fraction(8), read_amount("x10")),
        "memory": Bounds("memory", parsed(most), read_amount(step)),
    }
    amounts: Any = {resource: read_amount(amount) for resource, amount in asked.items()}
    return wanted(spec, 0, amounts, bounds)


def steps(found: Wanted) -> list[str]:
    places = [field.pointer.removeprefix("/spec/containers/0/resources/") for field in found.fields]
    return [
        f"{at} {field.before} {field.after}" for at, field in zip(places, found.fields, strict=True)
    ]


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [
        (SIZE, {"memory": "x2"}, ["requests/memory 128Mi 256Mi", "limits/memory 256Mi 512Mi"]),
        (SIZE, {"memory": "512Mi"}, ["limits/memory 256Mi 512Mi"]),
        (SIZE, {"memory": "256Mi"}, []),
        (SIZE, {"cpu": "+100m"}, ["requests/cpu 100m 200m", "limits/cpu 200m 300m"]),
        (GUARANTEED, {"cpu": 2}, ["requests/cpu 1 2", "limits/cpu 1 2"]),
        ({"requests": {"cpu": "1"}}, {"cpu": "2"}, ["requests/cpu 1 2"]),
        ({"limits": {"cpu": "1"}}, {"cpu": "x0.5"}, ["limits/cpu 1 500m"]),
    ],
)
def test_requests_and_limits_change_together_or_the_limit_alone(
    size: Any, asked: Any, expected: list[str]
) -> None:
    assert steps(made(size, asked)) == expected


@pytest.mark.parametrize(
    ("size", "asked", "message"),
    [
        (SIZE, {"cpu": "0.5", "memory": "64Mi"}, "128Mi, would be above its limit, 64Mi"),
        ({}, {"memory": "+30%"}, "neither a request nor a limit of memory"),
        ({"limits": {"memory": "1Gi"}}, {"cpu": "1"}, "neither a request nor a limit of cpu"),
        (SIZE, {"cpu": "-200m"}, "would be left without cpu"),
        (
            {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            {"memory": "64Mi"},
            "would change from Burstable to Guaranteed",
        ),
    ],
)
def test_what_can_not_be_is_refused(size: Any, asked: Any, message: str) -> None:
    with pytest.raises((Denied, PermanentError), match=message):
        made(size, asked)


def test_all_containers_of_a_pod_make_its_qos_class() -> None:
    size = {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    others = [{"name": "proxy", "resources": {"requests": {"cpu": "1"}}}]
    assert steps(made(size, {"memory": "64Mi"}, others=others)) == ["limits/memory 1Gi 64Mi"]


@pytest.mark.parametrize(
    ("asked", "most", "step", "after", "note"),
    [
        ("x4", "1536Mi", "x10", "1536Mi", "asked for 4Gi of memory, but RESIZE_MOST_MEMORY: set"),
        ("x4", "512Mi", "x10", None, "RESIZE_MOST_MEMORY: left at 1Gi"),
        ("700Mi", "512Mi", "x10", "700Mi", ""),
        ("x4", "4Gi", "x2", "2Gi", "RESIZE_STEP_MEMORY: set to 2Gi"),
        ("x4", "4Gi", "+30%", "1332Mi", "RESIZE_STEP_MEMORY: set to 1332Mi"),
        ("+30%", "4Gi", "+30%", "1332Mi", ""),
        ("25%", "4Gi", "x2", "512Mi", "asked for 256Mi of memory, but RESIZE_STEP_MEMORY: set"),
        ("-50%", "4Gi", "x2", "512Mi", ""),
    ],
)
def test_the_operator_bounds_what_is_asked_for(
    asked: str, most: str, step: str, after: str | None, note: str
) -> None:
    found = made(GUARANTEED, {"memory": asked}, most=most, step=step)
    assert {field.after for field in found.fields} == ({after} if after else set())
    assert note in "; ".join(found.notes)
    assert bool(note) == bool(found.notes)


def test_a_container_that_restarts_is_told() -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    found = made(SIZE, {"memory": "x2"}, resizePolicy=policy)
    assert found.notes == ("container main restarts, as its resizePolicy says for memory",)
    assert not made(SIZE, {"cpu": "x2"}, resizePolicy=policy).notes
