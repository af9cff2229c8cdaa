"""Which revision a rollback chooses, and what it accepts and remembers."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster.known import Known
from keptn_remedy_actions.cluster.revisions import (
    RESTARTED_AT,
    Health,
    Revision,
    choose,
    contains,
    numbered,
    plain,
)
from keptn_remedy_actions.rollback import RollbackValue


def revision(
    number: int, health: Health = "unknown", image: str = "", annotations: Any = None
) -> Revision:
    template = {
        "metadata": {"labels": {"app": "carts"}, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "image": image or f"carts:{number}"}]},
    }
    return Revision(number, f"carts-{number}", plain(template), health)


def chosen(*history: Revision, bad: tuple[int, ...] = (), good: tuple[int, ...] = ()) -> int:
    """The choice in a history whose first revision is live."""
    return choose(history, history[0], noted(bad), noted(good)).number


def noted(numbers: tuple[int, ...]) -> dict[str, str]:
    return {f"carts-{number}": "2026-01-01T00:00:00Z" for number in numbers}


def restarted(number: int, image: str) -> Revision:
    return revision(number, image=image, annotations={RESTARTED_AT: str(time.time())})


def test_the_newest_other_revision_is_chosen() -> None:
    assert chosen(revision(3), revision(2), revision(1)) == 2


def test_one_that_serves_now_goes_before_newer_ones() -> None:
    assert chosen(revision(4), revision(3), revision(2, "serving"), revision(1)) == 2


def test_one_that_was_seen_available_goes_before_newer_ones_of_which_nothing_is_known() -> None:
    assert chosen(revision(4), revision(3), revision(2), revision(1), good=(1, 2)) == 2
    assert chosen(revision(3), revision(2, "serving"), revision(1), good=(1,)) == 2


def test_one_that_never_was_complete_goes_last() -> None:
    assert chosen(revision(4), revision(3, "unfinished"), revision(2), revision(1)) == 2
    assert chosen(revision(4), revision(3, "unfinished"), revision(2, "broken")) == 3


def test_a_restart_of_what_was_seen_available_is_as_good() -> None:
    assert chosen(revision(4), revision(3), restarted(2, "carts:1"), revision(1), good=(1,)) == 2


def test_a_restart_of_what_was_rolled_back_from_is_as_bad() -> None:
    assert chosen(revision(4), restarted(3, "carts:2"), revision(2), revision(1), bad=(2,)) == 1


def test_one_that_is_seen_broken_is_left_out() -> None:
    assert chosen(revision(3), revision(2, "broken"), revision(1)) == 1


def test_one_that_was_rolled_back_from_is_left_out_even_if_it_serves() -> None:
    assert chosen(revision(3), revision(2, "serving"), revision(1), bad=(2,)) == 1


def test_a_restart_is_no_other_revision() -> None:
    assert chosen(restarted(3, "carts:2"), revision(2), revision(1)) == 1


def test_a_deployment_that_was_only_restarted_has_nothing_to_go_back_to() -> None:
    with pytest.raises(Denied, match="no other revision"):
        chosen(restarted(2, "carts:1"), revision(1))


def test_only_bad_revisions_are_refused_with_the_reason_of_each() -> None:
    with pytest.raises(Denied) as refused:
        chosen(revision(3), revision(2), revision(1, "broken"), bad=(2,))
    assert str(refused.value) == (
        "every other revision is known to be bad:"
        " revision 2 (image carts:2) was rolled back from at 2026-01-01T00:00:00Z;"
        " revision 1 (image carts:1) has pods, and none of them is ready;"
        ' to use one anyway, name it in `value`: {"revision": 2}'
    )


def test_a_number_that_is_not_there_is_refused() -> None:
    with pytest.raises(PermanentError, match=r"no revision 9; there are: revision 1 \(image ca"):
        numbered([revision(1)], 9)


def test_templates_are_compared_without_what_controllers_add() -> None:
    added = {
        "labels": {"app": "carts", "pod-template-hash": "x", "rollouts-pod-template-hash": "y"},
        "creationTimestamp": None,
        "annotations": {},
    }
    with_additions = {"metadata": added, "spec": {}, "$patch": "replace"}
    assert plain(with_additions) == plain({"metadata": {"labels": {"app": "carts"}}, "spec": {}})


def test_what_is_bad_is_bad_however_often_it_was_restarted() -> None:
    history = [restarted(3, "carts:2"), revision(2), revision(1)]
    known = Known(good={"carts-2": "then"})
    known.note_bad("carts-3", history)
    assert (set(known.bad), known.good) == ({"carts-3", "carts-2"}, {})
    known.forgive("carts-2", history)
    assert known.bad == {}


def test_what_was_seen_available_since_is_bad_no_longer() -> None:
    history = [restarted(3, "carts:2"), revision(2), revision(1)]
    known = Known()
    known.note_bad("carts-2", history)
    known.note_good("carts-3", history)
    assert (known.bad, set(known.good)) == ({}, {"carts-3"})


def test_what_defaults_and_webhooks_add_takes_nothing_away() -> None:
    main = {"name": "main", "image": "a", "args": ["x"], "env": [{"name": "A", "value": "1"}]}
    wanted = {"metadata": {"labels": {"app": "carts"}}, "spec": {"containers": [main]}}
    sidecar = {"name": "proxy", "image": "b"}
    more = [{"name": "B", "value": "2"}, *main["env"]]
    live = {
        "metadata": {"labels": {"app": "carts", "mesh": "on"}},
        "spec": {"containers": [sidecar, main | {"env": more, "tty": False}], "volumes": []},
    }
    assert contains(live, wanted)
    assert not contains(wanted, live)


@pytest.mark.parametrize(
    "change",
    [{"image": "b"}, {"args": ["y"]}, {"args": []}, {"env": []}, {"args": None}, {"image": 1}],
)
def test_what_was_changed_is_not_what_was_wanted(change: Any) -> None:
    main = {"name": "main", "image": "a", "args": ["x"], "env": [{"name": "A", "value": "1"}]}
    assert not contains({"containers": [main | change]}, {"containers": [main]})


def test_several_images_are_all_named() -> None:
    two = {"spec": {"containers": [{"image": "a:1"}, {"image": "b:2"}]}}
    assert str(replace(revision(1), template=two)) == "revision 1 (images a:1, b:2)"


@pytest.mark.parametrize("number", [3, "3"])
def test_a_revision_is_a_number_or_text_of_one(number: Any) -> None:
    assert RollbackValue.model_validate({"revision": number}).revision == 3


@pytest.mark.parametrize("number", [True, 0, -1, "latest", 2.5, [3]])
def test_what_is_no_revision_is_refused(number: Any) -> None:
    with pytest.raises(ValidationError):
        RollbackValue.model_validate({"revision": number})
