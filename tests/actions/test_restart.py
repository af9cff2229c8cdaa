"""The parts of a restart that need no cluster."""

from __future__ import annotations

from keptn_remedy import Change, Plan
from keptn_remedy_actions.restart import Restart


def restarted(*targets: str, at: str) -> Plan:
    return Plan(tuple(Change(target, "restartedAt", None, at) for target in targets))


def test_a_restart_that_was_approved_is_the_same_a_moment_later() -> None:
    action = Restart.__new__(Restart)
    asked = restarted("deployments.apps/shop/carts", at="2026-01-01T00:00:00Z")
    assert action.is_same(asked, restarted("deployments.apps/shop/carts", at="later"))
    assert not action.is_same(asked, restarted("deployments.apps/shop/orders", at="later"))
