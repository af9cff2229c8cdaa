"""The optional value that names a target."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback

both = pytest.mark.parametrize("action", [Rollback, Restart])


def read(action: Any, sent: Any) -> Any:
    return TypeAdapter[Any](action.Value).validate_python(sent)


@both
@pytest.mark.parametrize("sent", [None, {}])
def test_none_means_what_the_templates_say(action: Any, sent: Any) -> None:
    value = read(action, sent)
    assert (value.namespace, value.kind, value.name, value.notes) == (None, None, None, ())


@both
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("+1", "'+1'"),
        (3, "3"),
        (["a"], "['a']"),
        ({"PromotionCampaign": "off", "name": "carts"}, "PromotionCampaign"),
        ({"foreign": ["x"]}, "foreign"),
    ],
)
def test_what_was_meant_for_the_action_of_an_earlier_round_is_told(
    action: Any, sent: Any, told: str
) -> None:
    assert read(action, sent).notes == (f"ignored in value, as it is not for this action: {told}",)


@both
@pytest.mark.parametrize(
    ("sent", "meant"), [({"namspace": "a"}, "namespace"), ({"Kind": "a"}, "kind")]
)
def test_what_is_nearly_a_word_of_ours_is_refused(action: Any, sent: Any, meant: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean '{meant}'"):
        read(action, sent)


@both
@pytest.mark.parametrize("sent", [{"name": ""}, {"namespace": " "}, {"kind": 3}])
def test_an_empty_word_is_refused(action: Any, sent: Any) -> None:
    with pytest.raises(ValidationError):
        read(action, sent)


@pytest.mark.parametrize("revision", [True, 0, -1, "many", 1.5])
def test_a_revision_is_a_number_from_1(revision: Any) -> None:
    with pytest.raises(ValidationError):
        read(Rollback, {"revision": revision})
    assert read(Rollback, {"revision": "3"}).revision == 3
