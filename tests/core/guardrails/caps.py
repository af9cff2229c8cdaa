"""The caps, computed from plain lists: an oracle that uses neither the rails nor the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Judged = Literal["helped", "failed", "aborted"]

ORDER = ("pause", "suspended", "settling", "cooldown", "once-within", "at-most", "storm", "at-once")
"""The order of the rails; the first one that refuses is reported."""


@dataclass(frozen=True)
class Ask:
    """An execution that wants to touch targets. One that is not planned touches its service."""

    action: str
    project: str
    stage: str
    service: str
    context: str
    names: tuple[str, ...]
    planned: bool = True

    @property
    def targets(self) -> tuple[str, ...]:
        service = f"service {self.project}/{self.stage}/{self.service}"
        return self.names if self.planned else (service,)


@dataclass(frozen=True)
class Storm:
    targets: int
    percent: int | None
    within: int


@dataclass(frozen=True)
class Rate:
    executions: int
    within: int
    per: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """The limits of one action. Times are seconds."""

    rates: tuple[Rate, ...] = ()
    once_within: int | None = None
    cooldown: int | None = None
    at_once: int | None = None
    settle: int = 0
    storm: Storm | None = None
    suspend_after: int | None = None

    def rule(self, name: str, **match: str) -> dict[str, Any]:
        """The same as a rule of a policy."""
        storm = self.storm
        return {
            "name": name,
            "match": match,
            "at_most": [
                {"executions": rate.executions, "within": rate.within, "per": list(rate.per)}
                for rate in self.rates
            ]
            or None,
            "once_within": self.once_within,
            "cooldown": self.cooldown,
            "at_once": self.at_once,
            "settle": self.settle,
            "storm": storm
            and {"targets": storm.targets, "percent": storm.percent, "within": storm.within},
            "suspend_after": self.suspend_after,
            "turn_within": 0,
        }


@dataclass
class Act:
    """An execution that was admitted."""

    ask: Ask
    number: int
    at: float
    settle: float
    ended: float | None = None
    judged: Judged | None = None

    @property
    def age(self) -> tuple[float, int]:
        return self.at, self.number

    def end(self, now: float, judged: Judged) -> None:
        self.ended, self.judged = now, judged

    def settles_until(self, now: float, settle: float) -> float:
        """`settle` is that of the execution that asks while this one runs."""
        return now + settle if self.ended is None else self.ended + self.settle

    def has(self, attributes: dict[str, str]) -> bool:
        targets, others = {attributes.get("target")} - {None}, attributes.keys() - {"target"}
        same = all(getattr(self.ask, name) == attributes[name] for name in others)
        return same and targets <= set(self.ask.targets)


class Past:
    """Everything that was admitted and is still kept, and what it means for the next one."""

    def __init__(self, limits: dict[str, Limits], services: int) -> None:
        self.acts: list[Act] = []
        self.is_paused = False
        self.forgiven: dict[str, int] = {}
        self._limits = limits
        self._services = services
        self._numbers = 0

    def admit(self, ask: Ask, now: float) -> Act:
        self._numbers += 1
        act = Act(ask, self._numbers, now, self._limits[ask.action].settle)
        if ask.targets:  # what changes nothing is not counted
            self.acts.append(act)
        return act

    def forgive(self, target: str | None) -> None:
        self.forgiven[target or ""] = self._numbers

    def prune(self, before: float) -> None:
        self.acts = [act for act in self.acts if act.ended is None or act.ended >= before]

    def reached(self, ask: Ask, now: float) -> list[str]:
        """The rails whose limit is reached, so that one more would exceed it."""
        if not ask.targets:
            return ["pause"] if self.is_paused else []
        found = set(self._reached(ask, self._limits[ask.action], now))
        return [name for name in ORDER if name in found]

    def _reached(self, ask: Ask, limits: Limits, now: float) -> Iterator[str]:
        if self.is_paused:
            yield "pause"
        for target in ask.targets:
            yield from self._reached_on(target, ask, limits, now)
        if limits.storm and self._is_storm(ask, limits.storm, now):
            yield "storm"
        if ask.planned and limits.at_once is not None and self._under_way(now) >= limits.at_once:
            yield "at-once"

    def _reached_on(self, target: str, ask: Ask, limits: Limits, now: float) -> Iterator[str]:
        if limits.suspend_after and self._streak(target, ask) >= limits.suspend_after:
            yield "suspended"
        if last := self._newest(target):
            if last.settles_until(now, limits.settle) > now:
                yield "settling"
            ended = now if last.ended is None else last.ended
            if limits.cooldown is not None and now - ended < limits.cooldown:
                yield "cooldown"
        if limits.once_within is not None:
            same = {"target": target, "action": ask.action}
            if self._since(now - limits.once_within, same):
                yield "once-within"
        for rate in limits.rates:
            same = {name: target if name == "target" else getattr(ask, name) for name in rate.per}
            if same.keys() & {"stage", "service"}:
                same["project"] = ask.project
            if "service" in same:
                same["stage"] = ask.stage
            if len(self._since(now - rate.within, same)) >= rate.executions:
                yield "at-most"

    def _since(self, moment: float, same: dict[str, str]) -> list[Act]:
        return [act for act in self.acts if act.at >= moment and act.has(same)]

    def _newest(self, target: str, action: str | None = None) -> Act | None:
        same = {"target": target} | ({"action": action} if action else {})
        return max((act for act in self.acts if act.has(same)), key=lambda a: a.age, default=None)

    def _streak(self, target: str, ask: Ask) -> int:
        since = max(self.forgiven.get(name, 0) for name in ("", target))
        same = {"target": target, "action": ask.action}
        acts = [act for act in self.acts if act.has(same) and act.number > since]
        length, context = 0, ask.context
        for act in sorted(acts, key=lambda a: a.age, reverse=True):
            in_vain = act.ask.context == context
            if act.judged == "failed" or (act.judged == "helped" and in_vain):
                length += 1
            elif act.judged == "helped":
                break
            context = act.ask.context
        return length

    def _is_storm(self, ask: Ask, storm: Storm, now: float) -> bool:
        acts = self._since(now - storm.within, {"project": ask.project, "stage": ask.stage})
        targets = {target for act in acts for target in act.ask.targets}
        if len(targets | set(ask.targets)) > storm.targets:
            return True
        services = {act.ask.service for act in acts} | {ask.service}
        most = None if storm.percent is None else max(2, self._services * storm.percent // 100)
        return most is not None and len(services) > most

    def _under_way(self, now: float) -> int:
        planned = [act for act in self.acts if act.ask.planned]
        running = [a for a in planned if a.ended is None]
        return len(running) + sum(
            a.ended is not None and a.settle > 0 and a.ended + a.settle > now for a in planned
        )
