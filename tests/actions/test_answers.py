"""The words of API servers, in messages of ours."""

from typing import Any

import pytest

from keptn_remedy_actions.cluster.answers import is_denial, reason_of, shortened

LONG = "every container must set limits, " * 60


@pytest.mark.parametrize(
    ("status", "said"),
    [
        # A webhook's answer: no reason, or no word at all.
        (
            {"message": f'admission webhook "no.example.com" denied the request: {LONG}'},
            'admission webhook "no.example.com" denied the request: every container',
        ),
        (
            {"message": 'admission webhook "no.example.com" denied the request without'},
            'admission webhook "no.example.com" denied the request without',
        ),
        # A ValidatingAdmissionPolicy: its cause names no field.
        (
            {
                "message": "deployments.apps \"carts\" is forbidden: ValidatingAdmissionPolicy 'p'"
                " with binding 'b' denied request: no scaling today",
                "reason": "Invalid",
                "details": {"causes": [{"message": "ValidatingAdmissionPolicy 'p' …"}]},
            },
            "no scaling today",
        ),
        (
            {"message": f'failed calling webhook "no": Post "https://x": timeout {LONG}'},
            'failed calling webhook "no": Post "https://x": timeout',
        ),
        ({"details": {"causes": [{"message": "too many"}]}}, "too many"),
        ({"details": {"causes": [{"field": "spec.x", "message": "no"}, {}]}}, "spec.x: no"),
        ({}, "it gives no reason"),
        ({"message": {"code": 7}, "details": ["of a gateway"]}, "{'code': 7}"),
        ({"message": "x" * 400}, "it gives no reason"),
        ({"message": "PASSWORD=hunter2 " * 100, "reason": "Invalid"}, "Invalid"),
    ],
)
def test_a_reason_is_short_and_never_none(status: Any, said: str) -> None:
    reason = reason_of(status)
    assert said in reason
    assert "None" not in reason
    assert len(reason) <= 500


def test_a_denial_that_is_cut_shows_it() -> None:
    status = {"message": f'admission webhook "no" denied the request: {LONG}'}
    reason = reason_of(status)
    assert reason.endswith("…")
    assert status["message"].startswith(reason[:-1] + " ")


@pytest.mark.parametrize(
    ("message", "denied"),
    [
        ('admission webhook "no" denied the request: busy', True),
        ('pods "carts-1" is forbidden: exceeded quota: pods=2', True),
        ("Operation cannot be fulfilled on deployments.apps: the object has been modified", False),
        ('Internal error occurred: failed calling webhook "no": timeout', False),
        (None, False),
    ],
)
def test_denials_are_told_from_failures(message: str | None, denied: bool) -> None:
    assert is_denial({"message": message}) is denied


def test_a_text_is_cut_between_words_with_a_mark() -> None:
    assert shortened("one two\n three", 40) == "one two three"
    assert shortened("one two three", 9) == "one two…"
    assert shortened("onetwothree", 5) == "onet…"
