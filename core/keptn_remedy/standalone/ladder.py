"""What follows for an episode: a function of what is stored, of the clock, and of one new fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from keptn_remedy.guardrails.units import in_words
from keptn_remedy.journal import Closing, Episode, Move, Rung, VerdictOfJudge
from keptn_remedy.standalone.rules import LadderRules, Remedy, remedies

Need = Literal[
    "remedy", "confirmation", "outcome", "reading", "closing", "lasting", "telling", "nothing"
]
"""The fact that an episode needs next."""
Confirmation = Literal["firing", "suppressed", "absent", "unknown"]
"""What the Alertmanagers say of an episode; `unknown`: they can't be asked."""

LOOK_SECONDS = 5.0
HELD_SECONDS = 15.0
TELL_SECONDS = 60.0
# News has an episode looked at at once; this is for what else may happen.
REST_SECONDS = 900.0
# A Prometheus that does not answer for a moment is asked again about objectives.
AGAIN_SECONDS = 15.0
LONGEST_RAIL_PAUSE = 600.0
# Numbers kept of one try; of more, every second one is dropped.
MOST_POINTS = 120
# Rails whose "no" ends by itself.
FREEING_RAILS = frozenset(
    ("pause", "calendar", "settling", "cooldown", "once-within", "at-most", "storm", "at-once")
)
_FIXED: Mapping[str, Need] = {"open": "remedy", "acting": "outcome"}
_IDS = uuid5(NAMESPACE_URL, "https://keptn.sh/keptn-remedy/rung")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the execution of a rung ended. `rail` refused it, if one did; `acted`: it was no dry run;
    `is_aborted`: it never acted, because the episode no longer wanted it.
    """

    status: str
    result: str
    message: str
    rail: str = ""
    acted: bool = True
    is_aborted: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the judge found at one look. `good` is None where it can't tell. `value` is the number
    that was measured, `bound` what it is compared with, None where there is none; `values` are
    those of indicators.
    """

    good: bool | None
    text: str
    value: float | None = None
    is_worse: bool = False
    bound: float | None = None
    values: Mapping[str, float] | None = None


def execution_id(episode: Episode, number: int) -> str:
    """The trigger's id of a try: the same whenever it is asked for (UUIDv5)."""
    return str(uuid5(_IDS, f"{episode.id} {number}"))


def need(episode: Episode, now: float, rules: LadderRules) -> Need:
    """The fact that decides how this episode goes on; `nothing` while it only waits."""
    if fixed := _FIXED.get(episode.state):
        return fixed
    if episode.state in ("settling", "judging"):
        return "reading" if now >= episode.due_at else "nothing"
    if is_quiet(episode, now, rules) or is_without_news(episode, now, rules):
        return "closing"
    if episode.state in ("waiting", "held"):
        climbs = episode.held_from not in ("open", "judging")
        return "confirmation" if climbs and now >= episode.due_at else "nothing"
    if episode.state == "helped" and episode.absent_since is None and episode.is_firing:
        return "lasting" if now >= _fires_on_at(episode, rules) else "nothing"
    return "telling" if episode.state == "escalated" else "nothing"


def _fires_on_at(episode: Episode, rules: LadderRules) -> float:
    """From when on what still fires counts against the verdict that it was helped."""
    return (episode.helped_at or episode.opened_at) + rules.relapse


def is_quiet(episode: Episode, now: float, rules: LadderRules) -> bool:
    """Whether nothing of it has fired for long enough to close it."""
    since = [at for at in (episode.quiet_since, episode.absent_since) if at is not None]
    return bool(since) and now - min(since) >= rules.quiet_for


def is_without_news(episode: Episode, now: float, rules: LadderRules) -> bool:
    """Whether nothing was heard of it for too long."""
    return now - max(episode.firing_at, episode.opened_at) >= rules.max_open


def rest(episode: Episode, now: float, rules: LadderRules) -> Move:
    """Nothing is to be done yet: when to look again."""
    return Move({"due_at": _look_at(episode, now, rules)})


def _look_at(episode: Episode, now: float, rules: LadderRules) -> float:
    pause = TELL_SECONDS if episode.state == "escalated" else REST_SECONDS
    times = [now + pause, episode.opened_at + rules.max_open]
    times += [
        since + rules.quiet_for
        for since in (episode.quiet_since, episode.absent_since)
        if since is not None
    ]
    if episode.state in ("settling", "waiting", "held") and episode.due_at > now:
        times.append(episode.due_at)
    if episode.state == "helped" and _fires_on_at(episode, rules) > now:
        times.append(_fires_on_at(episode, rules))
    return max(min(times), now + 1.0)


def with_remedy(stored: dict[str, Any] | None, digest: str, why: str, now: float) -> Move:
    """The entry was looked for: the ladder begins, or there is nothing to climb."""
    if stored is None:
        fields = {"state": "held", "held_from": "open", "held_since": now, "reason": why}
        return Move({**fields, "due_at": now + TELL_SECONDS}, text=why)
    fields = {"state": "waiting", "remedy": stored, "digest": digest, "due_at": now}
    words = ", then ".join(each.action for each in remedies(stored))
    if stored.get("unreached"):
        words += "; shipyard.yaml leads to no action after the first"
    return Move(fields, text=f"{stored['problem_type']} of remediation.yaml: {words}")


def held(
    episode: Episode, reason: str, now: float, *, seconds: float = HELD_SECONDS, rung: Rung | None
) -> Move:
    """The ladder can't go on now; after `seconds` it is looked at again."""
    is_news = episode.state != "held" or episode.reason != reason
    fields: dict[str, Any] = {"state": "held", "reason": reason, "due_at": now + seconds}
    fields |= {"held_from": "waiting"} if episode.state != "held" else {}
    fields |= {"held_since": now} if is_news else {}
    return Move(fields, rung, f"held: {reason}" if is_news else "")


def confirmed(episode: Episode, said: Confirmation, now: float, rules: LadderRules) -> Move | None:
    """What follows from what the Alertmanagers say before an act; None: it may act."""
    if said == "firing":
        by = episode.acknowledged
        return held(episode, f"acknowledged by {by}", now, rung=None) if by else None
    if said == "suppressed":
        return held(episode, "the alert is silenced or inhibited", now, rung=None)
    if said == "absent":
        return _absent(episode, now)
    reason = "no Alertmanager can be asked"
    since = episode.held_since if episode.state == "held" else None
    if since is not None and episode.reason == reason and now - since >= rules.confirm_for:
        return escalated(f"{reason} for {in_words(rules.confirm_for)}", now)
    return held(episode, reason, now, seconds=LOOK_SECONDS, rung=None)


def _absent(episode: Episode, now: float) -> Move:
    fields: dict[str, Any] = {"due_at": now + LOOK_SECONDS, "state": "waiting"}
    if episode.absent_since is None:
        text = "the alert is not listed any more: it is waited for"
        return Move({**fields, "absent_since": now}, text=text)
    return Move(fields)


def begun(
    episode: Episode,
    start_value: float | None,
    now: float,
    before: Mapping[str, float] | None = None,
) -> Move:
    """The next try: its row, and the id of its execution, before the execution exists. `before` are
    the values of indicators.
    """
    remedy = remedies(episode.remedy)[episode.index]
    rung = Rung(
        number=episode.tries,
        index=episode.index,
        execution=execution_id(episode, episode.tries),
        action=remedy.action,
        began_at=now,
        start_value=start_value,
        numbers=None if before is None else {"before": dict(before)},
    )
    fields = {
        "state": "acting",
        "tries": episode.tries + 1,
        "due_at": now,
        "reason": None,
        "held_from": None,
        "held_since": None,
        "absent_since": None,
    }
    return Move(fields, rung, f"rung {episode.index + 1}: {remedy.action}")


def ended(episode: Episode, rung: Rung, end: Ended, now: float, rules: LadderRules) -> Move:
    """The execution of the rung has ended."""
    remedy = remedies(episode.remedy)[rung.index]
    done = replace(
        rung,
        ended_at=now,
        status=end.status,
        result=end.result,
        message=end.message,
        acted=end.acted,
    )
    if end.is_aborted:
        text = "the action was given up, as the alert is gone"
        return Move({"state": "waiting", "due_at": now}, done, text)
    if end.rail in FREEING_RAILS:
        pause = min(LONGEST_RAIL_PAUSE, HELD_SECONDS * 2 ** min(episode.tries, 6))
        return held(episode, end.message, now, seconds=pause, rung=done)
    if end.status != "succeeded" or end.result == "fail":
        then = remedy.on_action_failed or rules.on_action_failed
        why = f"{rung.action} did not succeed: {end.message}"
        return escalated(why, now, done) if then == "escalate" else climb(episode, why, now, done)
    settled_at = now + (rules.wait if remedy.wait is None else remedy.wait)
    fields = {"state": "settling", "due_at": settled_at}
    return Move(fields, replace(done, settled_at=settled_at), end.message)


def measuring(episode: Episode, rung: Rung, now: float, rules: LadderRules) -> Move | None:
    """Objectives are asked for once, over the whole window. None: it is over."""
    if rung.window_ends_at is None:
        remedy = remedies(episode.remedy)[rung.index]
        window = rules.window if remedy.window is None else remedy.window
        ends_at = (rung.settled_at or now) + window
        text = f"the judge looks at {in_words(window)} from now on"
        measured = replace(rung, window_ends_at=ends_at)
        return Move({"state": "judging", "due_at": ends_at}, measured, text)
    return Move({"due_at": rung.window_ends_at}) if now < rung.window_ends_at else None


def judged(
    episode: Episode, rung: Rung, reading: Finding, now: float, rules: LadderRules
) -> tuple[Move, VerdictOfJudge | None]:
    """The judge has looked: what it says of the rung, or None while it goes on looking."""
    remedy = remedies(episode.remedy)[rung.index]
    looked = _looked(rung, remedy, reading, now, rules)
    verdict = _verdict(looked, remedy, reading, now, rules)
    if verdict is None:
        ends_at = looked.window_ends_at or now
        due_at = now + min(LOOK_SECONDS, max(0.2, _hold_for(remedy, rules) / 10))
        due_at = min(due_at, ends_at) if now < ends_at else due_at
        text = "the judge looks" if episode.state == "settling" else ""
        return Move({"state": "judging", "due_at": due_at}, looked, text), None
    told = replace(looked, verdict=verdict, reason=reading.text, judged_at=now)
    return _by_verdict(episode, told, remedy, now, rules), verdict


def _looked(rung: Rung, remedy: Remedy, reading: Finding, now: float, rules: LadderRules) -> Rung:
    kind = {True: "good", False: "bad", None: "unknown"}[reading.good]
    counts: dict[str, Any] = {"good": 0, "bad": 0, "unknown": 0, **(rung.numbers or {})}
    counts[kind] += 1
    if reading.value is not None:
        counts["value"] = reading.value
        counts["curve"] = _curve(counts.get("curve", []), now - rung.began_at, reading.value)
    if reading.bound is not None:
        counts["bound"] = reading.bound
    if reading.values is not None:
        counts["values"] = dict(reading.values)
    window = rules.window if remedy.window is None else remedy.window
    began = now if rung.window_ends_at is None else None
    return replace(
        rung,
        numbers=counts,
        window_ends_at=rung.window_ends_at if began is None else began + window,
        good_since=(rung.good_since or now) if reading.good else None,
    )


def _curve(points: list[list[float]], seconds: float, value: float) -> list[list[float]]:
    """The numbers of a try with one more; each stands behind the seconds since the try began."""
    kept = points if len(points) < MOST_POINTS else points[::2]
    return [*kept, [round(seconds, 1), value]]


def _hold_for(remedy: Remedy, rules: LadderRules) -> float:
    return rules.hold_for if remedy.hold_for is None else remedy.hold_for


def _verdict(
    rung: Rung, remedy: Remedy, reading: Finding, now: float, rules: LadderRules
) -> VerdictOfJudge | None:
    if reading.is_worse:
        return "worse"
    if remedy.criterion.kind == "slo" and rung.window_ends_at is not None:
        return _of_objectives(reading, now - rung.window_ends_at)
    if rung.good_since is not None:
        # Looked at on after the window, too: a look that came late must not decide against it.
        return "helped" if now - rung.good_since >= _hold_for(remedy, rules) else None
    if rung.window_ends_at is None or now < rung.window_ends_at:
        return None
    if reading.good is None:
        return "unknown"
    was_bad = bool((rung.numbers or {}).get("bad"))
    return "failed" if was_bad else "unknown"


def _of_objectives(reading: Finding, late: float) -> VerdictOfJudge | None:
    if reading.good is None:
        return "unknown" if late >= AGAIN_SECONDS else None
    return "helped" if reading.good else "failed"


def _by_verdict(
    episode: Episode, rung: Rung, remedy: Remedy, now: float, rules: LadderRules
) -> Move:
    if rung.verdict == "helped":
        fields = {"state": "helped", "helped_at": now, "due_at": now}
        by = "" if rung.acted else " by itself, as nothing was done"
        return Move(fields, rung, f"it helped{by}: {rung.reason}")
    if rung.verdict == "unknown":
        then = remedy.on_unknown or rules.on_unknown
        why = f"the judge can't tell whether {rung.action} helped: {rung.reason}"
        if then == "escalate":
            return escalated(why, now, rung)
        if then == "hold":
            since = {"held_from": "judging", "held_since": now, "due_at": now + TELL_SECONDS}
            return Move({"state": "held", "reason": why, **since}, rung, why)
        return climb(episode, why, now, rung)
    word = "did not help" if rung.verdict == "failed" else "made it worse"
    return climb(episode, f"{rung.action} {word}: {rung.reason}", now, rung)


def climb(episode: Episode, why: str, now: float, rung: Rung) -> Move:
    """On to the next rung; from the last one, to a person."""
    if rung.index + 1 >= len(remedies(episode.remedy)):
        return escalated(f"no remedy is left: {why}", now, rung)
    fields = {"state": "waiting", "index": rung.index + 1, "due_at": now}
    return Move(fields, rung, why)


def escalated(why: str, now: float, rung: Rung | None = None) -> Move:
    """To a person: once per episode."""
    fields = {"state": "escalated", "escalated_at": now, "reason": why, "due_at": now}
    return Move(fields, rung, f"to a person: {why}")


def closed(closing: Closing, why: str, now: float) -> Move:
    """The end of an episode."""
    return Move({"state": "closed", "closing": closing, "closed_at": now, "reason": why}, text=why)
