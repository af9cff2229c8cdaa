"""Counts that need not be counted again: known to be below a limit, or not known."""

from keptn_remedy.journal.bounds import MAX_KNOWN, Bounds


def test_what_was_never_counted_is_not_known() -> None:
    assert not Bounds().is_below(10, "stage", 0)


def test_each_that_was_added_since_may_be_one_more() -> None:
    bounds = Bounds()
    bounds.added = 100
    bounds.note("stage", 0, 3)
    assert bounds.is_below(4, "stage", 0)
    assert not bounds.is_below(3, "stage", 0)
    bounds.added += 1
    assert not bounds.is_below(4, "stage", 0)
    assert bounds.is_below(5, "stage", 0)


def test_a_window_that_moved_on_holds_no_more_and_one_that_moved_back_may() -> None:
    bounds = Bounds()
    bounds.note("stage", 50, 3)
    assert bounds.is_below(4, "stage", 60)
    assert not bounds.is_below(4, "stage", 40)


def test_it_remembers_only_so_much() -> None:
    bounds = Bounds()
    for number in range(MAX_KNOWN + 1):
        bounds.note(number, 0, 0)
    assert not bounds.is_below(1, 0, 0)
    assert bounds.is_below(1, MAX_KNOWN, 0)
