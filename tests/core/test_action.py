"""What actions get from the author's API besides what they declare."""

from __future__ import annotations

import pytest

from keptn_remedy_actions.scale import Scale


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("scale", "scale"),
        ("Scaling", "scaling"),
        (" SCALE_REPLICAS ", "scale-replicas"),
        ("scalereplicas", "scale-replicas"),
        ("another", "another"),
    ],
)
def test_an_action_knows_which_of_its_names_is_meant(written: str, own: str) -> None:
    assert Scale.own_spelling(written) == own
