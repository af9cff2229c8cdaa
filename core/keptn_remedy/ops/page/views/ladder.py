"""How an episode's ladder is put for people: its steps, and what happens next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from keptn_remedy.guardrails.units import counted
from keptn_remedy.journal import Closing, Episode, EpisodeState, Rung, VerdictOfJudge
from keptn_remedy.journal.episode_values import RUNNING
from keptn_remedy.ops.page.views.shown import Badge, moment
from keptn_remedy.support.page_paths import path_of

STATES: Mapping[EpisodeState, Badge] = {
    "open": Badge("begins", "…", "wait"),
    "waiting": Badge("waits", "…", "wait"),
    "acting": Badge("acts", "▸", "busy"),
    "settling": Badge("settles", "▸", "busy"),
    "judging": Badge("is judged", "▸", "busy"),
    "helped": Badge("helped", "✓", "good"),
    "held": Badge("held", "⊘", "warn"),
    "escalated": Badge("given to a person", "!", "bad"),
    "closed": Badge("closed", "◼", "off"),
}
_CLOSED: Mapping[Closing, Badge] = {
    "confirmed": Badge("closed, confirmed", "✓", "good"),
    "unverified": Badge("closed, unverified", "?", "off"),
    "unknown": Badge("closed, unknown", "?", "off"),
}
_VERDICTS: Mapping[VerdictOfJudge, Badge] = {
    "helped": Badge("helped", "✓", "good"),
    "failed": Badge("did not help", "✕", "warn"),
    "worse": Badge("made it worse", "✕", "bad"),
    "unknown": Badge("can't tell", "?", "off"),
}
_NEXT = Badge("next", "→", "wait")
_LATER = Badge("only if needed", "·", "off")
_NOT_NEEDED = Badge("not needed", "·", "off")
_NO_SUCCESS = Badge("did not succeed", "✕", "bad")


class LadderTimes(Protocol):
    """The times that hold for every ladder, in seconds."""

    @property
    def hold_for(self) -> float: ...

    @property
    def quiet_for(self) -> float: ...


@dataclass(frozen=True, slots=True)
class LadderStep:
    """A rung of the ladder, or its end. `address` is that of its last execution, "" for none."""

    action: str
    name: str
    badge: Badge
    is_now: bool
    address: str = ""
    verdict: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """What happens next, in words, and when, where that is known."""

    words: str
    at: datetime | None = None


def state_of(episode: Episode) -> Badge:
    """How it stands."""
    return _CLOSED[episode.closing] if episode.closing else STATES[episode.state]


def remedies(episode: Episode) -> list[dict[str, Any]]:
    """The rungs of its entry, as they are stored."""
    return cast("list[dict[str, Any]]", (episode.remedy or {}).get("rungs", []))


def steps(episode: Episode, rungs: Sequence[Rung]) -> list[LadderStep]:
    """The ladder: what was done, what runs, what comes next, and where it stops."""
    found = [
        _step(episode, index, remedy, [each for each in rungs if each.index == index])
        for index, remedy in enumerate(remedies(episode))
    ]
    return [*found, _stop(episode)]


def _step(
    episode: Episode, index: int, remedy: dict[str, Any], tries: Sequence[Rung]
) -> LadderStep:
    is_now = index == episode.index and episode.closed_at is None
    is_now &= episode.state not in ("helped", "escalated")
    name, action = str(remedy.get("name") or ""), str(remedy["action"])
    if not tries:
        return LadderStep(action, name, _untried(episode, is_now), is_now)
    last = tries[-1]
    return LadderStep(
        action,
        name,
        _tried(episode, last, is_now),
        is_now,
        address=path_of(last.execution),
        verdict=_in_numbers(last),
        message=last.message or "",
    )


def _untried(episode: Episode, is_now: bool) -> Badge:
    if is_now:
        return STATES["held"] if episode.state == "held" else _NEXT
    over = episode.closed_at is not None or episode.state in ("helped", "escalated")
    return _NOT_NEEDED if over else _LATER


def _tried(episode: Episode, last: Rung, is_now: bool) -> Badge:
    if last.verdict:
        return _VERDICTS[last.verdict]
    if is_now:
        return STATES[episode.state] if episode.state != "waiting" else _NEXT
    return _NO_SUCCESS


def _stop(episode: Episode) -> LadderStep:
    if episode.escalated_at is not None:
        words = "was told" if episode.told_at is not None else "is being told"
        return LadderStep("a person", "", Badge(words, "!", "bad"), episode.state == "escalated")
    over = episode.closed_at is not None or episode.state == "helped"
    return LadderStep("a person", "", _NOT_NEEDED if over else _LATER, False)


def _in_numbers(rung: Rung) -> str:
    if not rung.verdict:
        return ""
    numbers = rung.numbers or {}
    looks = [
        f"{numbers[kind]} {words}"
        for kind, words in (("good", "good"), ("bad", "bad"), ("unknown", "can't tell"))
        if numbers.get(kind)
    ]
    paper = "" if rung.acted else " (on paper: nothing was done)"
    total = sum(int(numbers.get(kind, 0)) for kind in ("good", "bad", "unknown"))
    looked = f" {counted(total, 'look')}: {', '.join(looks)}." if looks else ""
    return f"{rung.reason or ''}{paper}.{looked}"


def following(episode: Episode, rungs: Sequence[Rung], times: LadderTimes) -> Next:
    """What happens next."""
    if episode.closed_at is not None:
        return Next("Nothing: it is closed.")
    if episode.state in RUNNING:
        return _while_it_runs(episode, rungs[-1] if rungs else None, times)
    quiet = [at for at in (episode.quiet_since, episode.absent_since) if at is not None]
    if quiet:
        ends_at = moment(min(quiet) + times.quiet_for)
        return Next("It is closed, if nothing of it fires until then", ends_at)
    return _AT_ITS_END.get(episode.state) or _before_an_act(episode)


_AT_ITS_END: Mapping[EpisodeState, Next] = {
    "helped": Next("It is closed once its alerts have ended."),
    "escalated": Next("A person is at it. It is closed once its alerts have ended."),
}


def _while_it_runs(episode: Episode, rung: Rung | None, times: LadderTimes) -> Next:
    if episode.state == "settling":
        return Next("The judge looks", moment(episode.due_at))
    if episode.state == "judging":
        # Lists are made without the tries.
        return _verdict_next(episode, rung, times) if rung else Next("The judge looks and decides.")
    return Next("The judge looks once the action has ended.")


def _verdict_next(episode: Episode, rung: Rung, times: LadderTimes) -> Next:
    if rung.good_since is not None:
        own = remedies(episode)[rung.index].get("hold_for")
        holds = times.hold_for if own is None else float(own)
        return Next("It has helped, if it holds until then", moment(rung.good_since + holds))
    ends_at = rung.window_ends_at
    return Next("The judge decides at the latest", moment(ends_at) if ends_at else None)


def _before_an_act(episode: Episode) -> Next:
    found = remedies(episode)
    if episode.state == "held":
        if episode.held_from == "open":
            return Next("Nothing: no remedy answers it.")
        until = held_until(episode.reason)
        words = "It is looked at again"
        return Next(f"{until} {words}" if until else words, moment(episode.due_at))
    if episode.state == "open":
        return Next("Its remedy is looked up", moment(episode.due_at))
    if episode.index < len(found):
        return Next(f"{found[episode.index]['action']} is tried", moment(episode.due_at))
    return Next("A person is told", moment(episode.due_at))


def held_until(reason: str | None) -> str:
    """What lets a held ladder go on, as a sentence; "" where its reason doesn't tell."""
    for start, words in _GOES_ON.items():
        if (reason or "").startswith(start):
            return f"It goes on once {words}."
    return ""


_GOES_ON: Mapping[str, str] = {
    "the alert is silenced": "no silence or other alert mutes it",
    "acknowledged by": "the incident is no longer acknowledged",
    "no Alertmanager can be asked": "an Alertmanager answers",
}
