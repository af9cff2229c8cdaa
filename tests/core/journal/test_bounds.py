"""Counts that need not be counted again: known to be below a limit, or not known."""

from keptn_remedy.journal import Alike, Counted, Foreseen, Kind
from keptn_remedy.journal.bounds import MAX_KNOWN, Bounds

OF_STAGE: Counted = "effects", Alike(project="sockshop", stage="production")
TURNED: Counted = "executions", Alike(target="flag", action="turn")
STAGES: Kind = "effects", ("project", "stage")


def begun(*counted: Counted) -> Bounds:
    bounds = Bounds()
    bounds.begin(Foreseen(counted_in=counted, kinds=frozenset({STAGES})))
    return bounds


def test_what_was_never_counted_is_not_known() -> None:
    bounds = begun(OF_STAGE)
    bounds.add((OF_STAGE,))
    assert not bounds.is_below(10, OF_STAGE, 0)


def test_each_that_was_added_since_may_be_one_more() -> None:
    bounds = begun(OF_STAGE)
    bounds.add((OF_STAGE,))
    bounds.note(OF_STAGE, 0, 3)
    assert bounds.is_below(4, OF_STAGE, 0)
    assert not bounds.is_below(3, OF_STAGE, 0)
    bounds.add((OF_STAGE, TURNED))
    assert not bounds.is_below(4, OF_STAGE, 0)
    assert bounds.is_below(5, OF_STAGE, 0)


def test_what_is_counted_elsewhere_is_no_more() -> None:
    bounds = begun(OF_STAGE)
    bounds.note(OF_STAGE, 0, 3)
    bounds.add((TURNED, ("effects", Alike(project="sockshop", stage="dev"))))
    assert bounds.is_below(4, OF_STAGE, 0)


def test_a_count_that_is_not_foreseen_is_not_kept() -> None:
    """What is added to it would not be told."""
    bounds = begun(TURNED)
    bounds.note(OF_STAGE, 0, 3)
    assert not bounds.is_below(10, OF_STAGE, 0)


def test_nothing_is_known_once_other_kinds_are_counted() -> None:
    bounds = begun(OF_STAGE)
    bounds.note(OF_STAGE, 0, 3)
    bounds.begin(Foreseen(kinds=frozenset({STAGES})))
    assert bounds.is_below(4, OF_STAGE, 0)
    bounds.begin(Foreseen())
    bounds.begin(Foreseen(kinds=frozenset({STAGES})))
    assert not bounds.is_below(10, OF_STAGE, 0)


def test_a_window_that_moved_on_holds_no_more_and_one_that_moved_back_may() -> None:
    bounds = begun(OF_STAGE)
    bounds.note(OF_STAGE, 50, 3)
    assert bounds.is_below(4, OF_STAGE, 60)
    assert not bounds.is_below(4, OF_STAGE, 40)


def test_it_remembers_only_so_much() -> None:
    counted: list[Counted] = [
        ("executions", Alike(target=str(number))) for number in range(MAX_KNOWN + 1)
    ]
    bounds = Bounds()
    for each in counted:
        bounds.begin(Foreseen(counted_in=(each,)))
        bounds.note(each, 0, 0)
    assert not bounds.is_below(1, counted[0], 0)
    assert bounds.is_below(1, counted[-1], 0)
