"""What a rollback remembers of the template that admission made of its revision."""

from typing import Any

import pytest

from keptn_remedy_actions.cluster.known import Known
from keptn_remedy_actions.cluster.revisions import RESTARTED_AT, Revision


def template(image: str = "one", **annotations: str) -> Any:
    metadata = {"labels": {"app": "carts"}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": image}]}}


@pytest.mark.parametrize(
    ("live", "is_ours"),
    [
        (template(stamp="stored"), True),
        (template(stamp="stamped again"), True),
        (template(), True),
        (template("two", stamp="stored"), False),
        (template(stamp="stored", flag="on"), False),
        (template(**{"stamp": "stored", RESTARTED_AT: "2026-01-01T00:00:00Z"}), False),
    ],
)
def test_a_stamp_does_not_make_it_another_template(live: Any, is_ours: bool) -> None:
    known = Known()
    known.note_stored(Revision(1, "carts-1", template(stamp="sent")), template(stamp="stored"))
    kept = Known.model_validate(known.model_dump(mode="json"))
    assert kept.stored_as(live) == ("carts-1" if is_ours else None)


def test_what_admission_changes_elsewhere_is_compared_exactly() -> None:
    """An image from a mirror is ours, and another one is not."""
    known = Known()
    known.note_stored(Revision(1, "carts-1", template("one")), template("mirror/one"))
    assert known.stored_as(template("mirror/one")) == "carts-1"
    assert known.stored_as(template("mirror/two")) is None
