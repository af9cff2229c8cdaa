"""When replicas count as reached, and for how long they must stay so."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from keptn_remedy import Plan
from keptn_remedy_actions.cluster import replicas
from keptn_remedy_actions.cluster.replicas import Replicas
from keptn_remedy_actions.scale import Scale
from tests.actions.driving import driven

OBSERVED = {"metadata": {"generation": 2}, "status": {"observedGeneration": 2}}
AS_TEXT = {"metadata": {"generation": 2}, "status": {"observedGeneration": "2"}}
AS_HASH = {"metadata": {"generation": 2}, "status": {"observedGeneration": "6c5b8f9d7"}}
UNSEEN = {"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}


@pytest.mark.parametrize(
    ("seen", "fewer", "are"),
    [
        (Replicas(OBSERVED, ordered=3, there=3, ready=3), False, True),
        (
            Replicas(OBSERVED, ordered=3, there=4, ready=4),
            False,
            True,
        ),  # in the middle of an update
        (Replicas(OBSERVED, ordered=3, there=4, ready=4), True, False),  # one is left over
        (Replicas(OBSERVED, ordered=3, there=3, ready=2), False, False),
        (Replicas(OBSERVED, ordered=2, there=3, ready=3), False, False),  # an HPA that didn't look
        (Replicas(UNSEEN, ordered=3, there=3, ready=3), False, False),
        (Replicas(AS_TEXT, ordered=3, there=3, ready=3), False, True),  # a Rollout
        (Replicas(AS_HASH, ordered=3, there=3, ready=3), False, True),  # one before 0.10
        (Replicas({}, ordered=3, there=3, ready=3), False, True),  # a kind without that field
    ],
)
def test_replicas_are_there_when_the_controller_did_what_was_ordered(
    seen: Replicas, fewer: bool, are: bool
) -> None:
    assert seen.are(3, fewer=fewer) is are


class Records:
    """The answers of one look after the other; the last one is repeated."""

    def __init__(self, *ready: int) -> None:
        self._ready: Iterator[int] = iter(ready)
        self._last = 0
        self.changed_at = 0.0

    async def __call__(self, *_: Any) -> Replicas:
        ready = next(self._ready, self._last)
        if ready != self._last:
            self.changed_at = time.monotonic()
        self._last = ready
        return Replicas(OBSERVED, ordered=3, there=3, ready=ready)


def memo(**others: Any) -> dict[str, Any]:
    carts = {
        "kind": {"name": "Deployment", "group": "apps", "version": "v1", "plural": "deployments"},
        "namespace": "shop",
        "name": "carts",
    }
    field = {"pointer": "/spec/replicas", "before": 2, "after": 3}
    return {
        "workload": carts,
        "holder": carts,
        "subresource": "scale",
        "fields": [field],
        "ordered": 2,
        "wanted": 3,
        "contested": False,
        "planned_at": "2026-01-01T00:00:00Z",
        **others,
    }


async def verified(looks: Records, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> float:
    """Seconds from the last change to the outcome."""

    async def nobody(*_: Any) -> None:
        return None

    monkeypatch.setattr(replicas, "look", looks)
    monkeypatch.setattr(Scale, "_overridden", nobody)
    stored = {
        name: settings.pop(name) for name in ("contested", "missing", "ready") if name in settings
    }
    action = Scale(Scale.Settings(service_host="::1", service_port="1", **settings))
    async with driven(action) as drive:
        outcome = await drive.verify(Plan((), memo=memo(**stored)))
    assert outcome.result == "pass"
    return time.monotonic() - looks.changed_at


async def test_what_is_lost_again_must_settle_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Records(3, 3, 2, 3)
    assert await verified(looks, monkeypatch, settle_seconds=0.6) >= 0.6


@pytest.mark.parametrize(("contested", "seconds"), [(False, 0.4), (True, 1.2)])
async def test_where_another_controller_has_a_will_of_its_own_it_takes_longer(
    monkeypatch: pytest.MonkeyPatch, contested: bool, seconds: float
) -> None:
    monkeypatch.setattr("keptn_remedy_actions.cluster.settings._SETTLE_SECONDS", 0.4)
    monkeypatch.setattr("keptn_remedy_actions.cluster.settings._CONTESTED_SETTLE_SECONDS", 1.2)
    assert await verified(Records(3), monkeypatch, contested=contested) >= seconds


async def test_pods_that_were_missing_get_their_time_while_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of two was ready at planning; each that comes begins the settling anew."""
    looks = Records(1, 2, 3)
    assert await verified(looks, monkeypatch, settle_seconds=0.6, missing=2, ready=0) >= 0.6
