"""How many go alone, and when a storm becomes one summary."""

from __future__ import annotations

from keptn_remedy.notifications.pace import GATHER_SECONDS, WINDOW_SECONDS, Pace, Turn


def test_what_fits_goes_alone() -> None:
    pace = Pace(3)
    assert pace.turn([0.0] * 3, 100.0) == Turn(3)
    assert pace.turn([], 100.0) == Turn()


def test_a_storm_is_gathered_and_goes_as_one_summary() -> None:
    pace = Pace(3)
    assert pace.turn([0.0] * 10, 100.0) == Turn(wait_seconds=GATHER_SECONDS)
    assert pace.turn([0.0] * 50, 100.0 + GATHER_SECONDS) == Turn(50, is_summary=True)
    pace.note_sent(is_summary=True)
    assert pace.turn([0.0], 106.0).most == 0
    later = 100.0 + WINDOW_SECONDS
    assert pace.turn([0.0] * 7, later).is_summary or pace.turn([0.0] * 7, later).wait_seconds


def test_what_comes_after_the_limit_waits_for_the_next_window() -> None:
    pace = Pace(2)
    assert pace.turn([0.0, 0.0], 100.0) == Turn(2)
    for _ in range(2):
        pace.note_sent(is_summary=False)
    assert pace.turn([0.0], 101.0) == Turn(wait_seconds=WINDOW_SECONDS - 1)
    assert pace.turn([0.0], 100.0 + WINDOW_SECONDS) == Turn(1)


def test_in_each_window_there_are_at_most_so_many_and_one_summary() -> None:
    pace, now, sent, waiting = Pace(5), 0.0, 0, 0
    while now < 10 * WINDOW_SECONDS:
        waiting += 3
        turn = pace.turn([now] * waiting, now)
        for _ in range(1 if turn.is_summary else turn.most):
            pace.note_sent(is_summary=turn.is_summary)
            sent += 1
        waiting -= waiting if turn.is_summary else turn.most
        now += 1.0
    assert sent <= 10 * 6
