"""The clock that nobody sets, and what two readings tell of the time between them."""

from __future__ import annotations

import pytest

from keptn_remedy.support.clock import Clock, Gap, Reading, SteadyClock
from tests.clocks import MovedClock

HOUR = 3600.0
THEN = Reading("boot", 100.0, 1_000_000.0)


@pytest.mark.parametrize("step", [-5 * HOUR, 40 * 24 * HOUR])
def test_time_goes_on_whatever_the_wall_clock_is_set_to(step: float) -> None:
    clock = MovedClock()
    steady = SteadyClock(clock)
    began = steady.now()
    clock.shift += step
    clock.forward(60)
    assert steady.now() - began == pytest.approx(60, abs=1)
    assert steady.wall_ahead == pytest.approx(step, abs=1)
    assert steady.utc().timestamp() - began == pytest.approx(60 + step, abs=1)


def test_each_step_is_noticed_once() -> None:
    clock = MovedClock()
    steady = SteadyClock(clock)
    assert steady.step() == 0
    clock.shift += HOUR
    assert steady.step() == pytest.approx(HOUR, abs=1)
    clock.forward(HOUR)
    assert steady.step() == 0
    clock.shift -= HOUR
    assert steady.step() == pytest.approx(-HOUR, abs=1)


def test_a_leap_second_is_no_step() -> None:
    clock = MovedClock()
    steady = SteadyClock(clock)
    clock.shift -= 1
    assert steady.step() == 0
    assert steady.wall_ahead == 0


@pytest.mark.parametrize(
    ("later", "gap"),
    [
        (Reading("boot", 160.0, 1_000_060.0), Gap()),
        (Reading("boot", 160.0, 1_000_061.0), Gap()),
        (Reading("boot", 160.0, 1_003_660.0), Gap(ahead=HOUR, step=HOUR)),
        (Reading("boot", 160.0, 996_460.0), Gap(ahead=-HOUR, step=-HOUR)),
        (Reading("another", 10.0, 1_003_600.0), Gap(unknown=HOUR)),
        (Reading("another", 10.0, 996_400.0), Gap(ahead=-HOUR, step=-HOUR)),
        (Reading("boot", 10.0, 1_003_600.0), Gap(unknown=HOUR)),  # a clock of another machine
    ],
)
def test_a_step_is_known_as_far_as_another_clock_tells(later: Reading, gap: Gap) -> None:
    assert Gap.between(THEN, later) == gap


@pytest.mark.parametrize(
    ("later", "gap"),
    [
        (Reading("boot", 160.0, 996_460.0), Gap(ahead=-HOUR)),
        (Reading("boot", 160.0, 1_000_060.0), Gap(step=HOUR)),
        (Reading("another", 10.0, 996_460.0), Gap(ahead=-HOUR, unknown=60.0)),
        (Reading("another", 10.0, 996_000.0), Gap(ahead=-4000.0, step=-400.0)),
    ],
)
def test_a_step_that_was_noticed_is_no_new_one(later: Reading, gap: Gap) -> None:
    assert Gap.between(THEN._replace(wall_ahead=-HOUR), later) == gap


def test_where_machines_have_no_name_nothing_but_the_wall_clock_tells() -> None:
    later = Reading("", 160.0, 1_003_660.0)
    assert Gap.between(THEN._replace(boot=""), later) == Gap(unknown=3660.0)


def test_the_readings_of_one_machine_can_be_compared() -> None:
    one, other = Clock().reading(), Clock().reading()
    assert one.boot == other.boot
    assert one.monotonic <= other.monotonic
