"""The calendar: hours and blackouts by local clocks, also on the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keptn_remedy.guardrails.calendar import DAYS, Blackout, Window, closed, next_opening
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy

BERLIN = ZoneInfo("Europe/Berlin")
FORWARD, BACK = "2026-03-29", "2026-10-25"  # 02:00 to 03:00, and 03:00 to 02:00
ANYTHING = Scope(project="shop", stage="prod", service="carts", action="scale")


def at(local: str, *, again: bool = False) -> float:
    """The moment at which clocks in Berlin show it; `again`: for the second time."""
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN, fold=again).timestamp()


def said(settings: str, now: float, timezone: str = "Europe/Berlin") -> str | None:
    """Why a policy of one rule doesn't allow to act."""
    policy = Policy.load(
        f"{{version: 1, timezone: {timezone}, rules: [{{name: one, {settings}}}]}}"
    )
    resolved = Rules(policy).resolve(ANYTHING)
    return closed(resolved.windows, resolved.blackouts, now)


OFFICE = "windows: [{days: [mon, tue, wed, thu, fri], from: 08:00, to: 18:00}]"
NIGHT = "windows: [{days: [fri], from: 22:00, to: 06:00}]"
CHRISTMAS = "blackouts: [{from: 2026-12-23, to: 2027-01-02, reason: Christmas}]"


def test_without_windows_and_blackouts_any_moment_is_good() -> None:
    assert closed((), (), 0) is None


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-20T07:59:59", False),
        ("2026-11-20T08:00", True),
        ("2026-11-20T17:59:59", True),
        ("2026-11-20T18:00", False),
        ("2026-11-21T12:00", False),
    ],
)
def test_a_window_opens_at_its_first_minute_and_is_closed_at_its_last(
    moment: str, is_open: bool
) -> None:
    assert (said(OFFICE, at(moment)) is None) == is_open


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-20T21:59", False),
        ("2026-11-20T22:00", True),
        ("2026-11-21T05:59", True),
        ("2026-11-21T06:00", False),
        ("2026-11-20T05:00", False),  # the night from Thursday
        ("2026-11-21T22:00", False),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins(
    moment: str, is_open: bool
) -> None:
    assert (said(NIGHT, at(moment)) is None) == is_open


def test_what_is_closed_tells_when_it_opens() -> None:
    assert said(OFFICE, at("2026-11-20T18:30")) == (
        "it is Fri 2026-11-20 18:30 Europe/Berlin, outside mon-fri 08:00-18:00 Europe/Berlin;"
        " allowed again from Mon 2026-11-23 08:00 Europe/Berlin"
    )


def test_a_blackout_tells_its_reason_and_its_end() -> None:
    assert said(CHRISTMAS, at("2026-12-24T18:00")) == (
        "blackout (Christmas); allowed again from Sun 2027-01-03 00:00 Europe/Berlin"
    )


def test_after_a_blackout_the_next_window_is_told() -> None:
    told = said(f"{OFFICE}, {CHRISTMAS}", at("2026-12-24T18:00"))
    assert told == "blackout (Christmas); allowed again from Mon 2027-01-04 08:00 Europe/Berlin"


def test_blackouts_that_follow_on_each_other_are_reported_as_one() -> None:
    two = "blackouts: [{from: 2026-12-24, to: 2026-12-25}, {from: 2026-12-25, to: 2026-12-27}]"
    told = said(two, at("2026-12-24T18:00"))
    assert told == "blackout; allowed again from Mon 2026-12-28 00:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-12-22T23:59:59", True),
        ("2026-12-23T00:00", False),
        ("2027-01-02T23:59:59", False),
        ("2027-01-03T00:00", True),
    ],
)
def test_both_days_of_a_blackout_are_included(moment: str, is_open: bool) -> None:
    assert (said(CHRISTMAS, at(moment)) is None) == is_open


def test_the_time_at_which_a_blackout_ends_is_not_included() -> None:
    hours = "blackouts: [{from: 2026-12-23T10:00, to: 2026-12-23T12:00}]"
    assert said(hours, at("2026-12-23T09:59:59")) is None
    assert said(hours, at("2026-12-23T10:00")) is not None
    assert said(hours, at("2026-12-23T11:59:59")) is not None
    assert said(hours, at("2026-12-23T12:00")) is None


def test_a_blackout_over_every_window_of_a_year_has_no_end_to_tell() -> None:
    told = said("blackouts: [{from: 2026-01-01, to: 2028-12-31}]", at("2026-12-24T18:00"))
    assert told == "blackout; not allowed again within a year"


def test_a_window_may_name_a_time_zone_of_its_own() -> None:
    tokyo = "windows: [{from: 08:00, to: 18:00, timezone: Asia/Tokyo}]"
    assert said(tokyo, at("2026-11-20T00:30")) is None
    assert said(tokyo, at("2026-11-20T12:00")) is not None


def test_without_a_time_zone_clocks_show_utc() -> None:
    policy = Policy.load(f"{{version: 1, rules: [{{name: one, {OFFICE}}}]}}")
    resolved = Rules(policy).resolve(ANYTHING)
    noon = datetime(2026, 11, 20, 17, 30, tzinfo=UTC).timestamp()
    assert closed(resolved.windows, (), noon) is None
    assert closed(resolved.windows, (), noon + 1800) is not None


# When clocks change


@pytest.mark.parametrize("day", [FORWARD, BACK, "2026-06-01", "2026-12-01"])
def test_a_window_opens_at_the_same_local_time_all_year(day: str) -> None:
    daily = "windows: [{from: 08:00, to: 18:00}]"
    assert said(daily, at(f"{day}T07:59")) is not None
    assert said(daily, at(f"{day}T08:00")) is None


def test_a_window_that_opens_in_the_hour_that_is_left_out_opens_after_it() -> None:
    early = "windows: [{from: 02:30, to: 05:00}]"
    before = at(f"{FORWARD}T01:59:59")
    told = said(early, before)
    assert told
    assert told.endswith(f"again from Sun {FORWARD} 03:00 Europe/Berlin")
    assert said(early, before + 1) is None


def test_a_window_in_the_hour_that_is_left_out_opens_a_week_later() -> None:
    told = said("windows: [{days: sun, from: 02:15, to: 02:45}]", at(f"{FORWARD}T01:00"))
    assert told
    assert told.endswith("again from Sun 2026-04-05 02:15 Europe/Berlin")


def test_a_window_in_the_hour_that_comes_twice_opens_twice() -> None:
    early = "windows: [{from: 02:15, to: 02:45}]"
    assert said(early, at(f"{BACK}T02:30")) is None
    told = said(early, at(f"{BACK}T02:50"))
    assert told
    assert told.endswith(f"again from Sun {BACK} 02:15 Europe/Berlin")
    assert said(early, at(f"{BACK}T02:30", again=True)) is None
    assert said(early, at(f"{BACK}T02:50", again=True)) is not None


def test_a_blackout_lasts_through_the_hour_that_comes_twice() -> None:
    hours = f"blackouts: [{{from: {BACK}T02:30, to: {BACK}T02:45}}]"
    assert said(hours, at(f"{BACK}T02:29")) is None
    assert said(hours, at(f"{BACK}T02:30")) is not None
    assert said(hours, at(f"{BACK}T02:44", again=True)) is not None
    assert said(hours, at(f"{BACK}T02:45", again=True)) is None


def test_a_blackout_day_is_as_long_as_its_day() -> None:
    for day, hours in ((FORWARD, 23), (BACK, 25)):
        start = datetime.fromisoformat(day)
        blackout = Blackout.of(start, start + timedelta(days=1), BERLIN, None)
        assert blackout.end - blackout.start == hours * 3600


windows = st.builds(
    Window.of,
    days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
    zone=st.sampled_from([BERLIN, ZoneInfo("America/Santiago"), ZoneInfo("Australia/Lord_Howe")]),
).filter(lambda window: window.start != window.end)


@given(
    windows=st.lists(windows, min_size=1, max_size=3),
    blackouts=st.lists(
        st.builds(
            lambda start, minutes: Blackout(start * 60.0, (start + minutes) * 60.0, BERLIN, None),
            st.integers(29_530_000, 29_620_000),
            st.integers(1, 20_000),
        ),
        max_size=2,
    ),
    now=st.one_of(
        st.integers(29_540_000, 29_620_000),
        st.integers(-2_000, 2_000).map(lambda minutes: int(at(f"{FORWARD}T03:00")) // 60 + minutes),
        st.integers(-2_000, 2_000).map(lambda minutes: int(at(f"{BACK}T03:00")) // 60 + minutes),
    ),
)
def test_it_is_closed_until_the_moment_that_is_told_and_open_then(
    windows: list[Window], blackouts: list[Blackout], now: int
) -> None:
    opening = next_opening(windows, blackouts, now * 60.0)
    assert opening is not None
    assert closed(windows, blackouts, opening) is None
    assert (opening == now * 60.0) == (closed(windows, blackouts, now * 60.0) is None)
    between = range(now * 60, int(opening), 7 * 60)
    assert all(closed_at(windows, blackouts, moment) for moment in between)
    assert opening == now * 60 or closed_at(windows, blackouts, opening - 60)


def closed_at(windows: list[Window], blackouts: list[Blackout], moment: float) -> bool:
    """Whether it is closed, without asking until when."""
    if any(blackout.contains(moment) for blackout in blackouts):
        return True
    return not any(window.contains(moment) for window in windows)
