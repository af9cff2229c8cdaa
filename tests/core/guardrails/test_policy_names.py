"""A rule may call an action by any of its names."""

from __future__ import annotations

import pytest

from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy

NAMES = {"scale": ("scale", "scaling", "scale-replicas")}


@pytest.mark.parametrize("written", ["scale", "Scaling", "scale_replicas", "scale*", "*replicas"])
def test_each_of_its_names_will_do(written: str) -> None:
    text = f"version: 1\nrules: [{{name: freeze, match: {{action: '{written}'}}, decision: deny}}]"
    rules = Rules(Policy.load(text), names=NAMES)
    scope = Scope("shop", "prod", "carts", "scale")
    assert rules.resolve(scope).decision == "deny"
    assert rules.resolve(Scope("shop", "prod", "carts", "restart")).decision == "allow"
