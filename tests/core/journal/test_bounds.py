"""Counts that need not be counted again: known to be below a limit, or not known."""

from keptn_remedy.journal import Alike, Effect
from keptn_remedy.journal.bounds import MAX_KNOWN, Bounds, Counted

EFFECT = Effect("flag", "turn", "sockshop", "production", "carts", "a context", planned=True)
OF_STAGE: Counted = "effects", Alike(project="sockshop", stage="production")


def test_what_was_never_counted_is_not_known() -> None:
    bounds = Bounds()
    bounds.add(EFFECT)
    assert not bounds.is_below(10, OF_STAGE, 0)


def test_each_that_was_added_since_may_be_one_more() -> None:
    bounds = Bounds()
    bounds.add(EFFECT)
    bounds.note(OF_STAGE, 0, 3)
    assert bounds.is_below(4, OF_STAGE, 0)
    assert not bounds.is_below(3, OF_STAGE, 0)
    bounds.add(EFFECT)
    assert not bounds.is_below(4, OF_STAGE, 0)
    assert bounds.is_below(5, OF_STAGE, 0)


def test_what_is_not_alike_is_no_more() -> None:
    bounds = Bounds()
    bounds.note(OF_STAGE, 0, 3)
    bounds.add(EFFECT._replace(stage="dev"))
    assert bounds.is_below(4, OF_STAGE, 0)


def test_an_effect_is_one_more_wherever_it_is_counted() -> None:
    bounds = Bounds()
    turned: Counted = "executions", Alike(target="flag", action="turn")
    of_service: Counted = "executions", Alike(None, None, "sockshop", "production", "carts")
    every: tuple[Counted, ...] = (OF_STAGE, turned, of_service, ("executions", OF_STAGE[1]))
    for counted in every:
        bounds.note(counted, 0, 3)
    bounds.add(EFFECT)
    assert not any(bounds.is_below(4, counted, 0) for counted in every)


def test_a_window_that_moved_on_holds_no_more_and_one_that_moved_back_may() -> None:
    bounds = Bounds()
    bounds.note(OF_STAGE, 50, 3)
    assert bounds.is_below(4, OF_STAGE, 60)
    assert not bounds.is_below(4, OF_STAGE, 40)


def test_it_remembers_only_so_much() -> None:
    bounds = Bounds()
    counted: list[Counted] = [
        ("executions", Alike(target=str(number))) for number in range(MAX_KNOWN + 1)
    ]
    for each in counted:
        bounds.note(each, 0, 0)
    assert not bounds.is_below(1, counted[0], 0)
    assert bounds.is_below(1, counted[-1], 0)
