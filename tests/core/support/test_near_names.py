"""The name that was meant by one that nobody knows."""

import pytest

from keptn_remedy.support.near_names import near

ACTIONS = ("toggle-feature", "scale", "rollback")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rolback", "rollback"),
        ("ROLL_BACK", "rollback"),
        ("toggle_featur", "toggle-feature"),
        ("skale", "scale"),
    ],
)
def test_a_near_name_is_asked_for(name: str, meant: str) -> None:
    assert near(name, ACTIONS) == f"; did you mean {meant}?"


@pytest.mark.parametrize("name", ["", "x", "restart", "purge-cache"])
def test_no_other_name_is_guessed(name: str) -> None:
    assert near(name, ACTIONS) == ""
    assert near("scale", ()) == ""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("REMEDY_SLOTS", ""),  # only the prefix is near
        ("REMEDY_PROT", "; did you mean REMEDY_PORT?"),
        ("REMEDY_DRYRUN", "; did you mean REMEDY_DRY_RUN?"),
        ("REMEDYPORT", "; did you mean REMEDY_PORT?"),
        ("REMEDY_JURNAL", "; did you mean REMEDY_JOURNAL?"),
    ],
)
def test_a_prefix_that_most_share_makes_no_name_near(name: str, hint: str) -> None:
    assert near(name, ("REMEDY_PORT", "REMEDY_DRY_RUN", "REMEDY_JOURNAL", "REMEDY_POLICY")) == hint


def test_a_first_word_that_few_share_counts() -> None:
    known = ("memory_at_most", "settle", "storm", "windows")
    assert near("memory_max", known) == "; did you mean memory_at_most?"
