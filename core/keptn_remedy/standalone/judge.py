"""The judge: asks whether a remedy helped. What it can't be sure of, it can't tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from keptn_remedy.standalone import objectives
from keptn_remedy.standalone.ladder import Finding
from keptn_remedy.standalone.prometheus import NoAnswer, Prometheus, Rules, Sample, is_of
from keptn_remedy.standalone.promql import Want, compared, comparison, selectors
from keptn_remedy.standalone.rules import Criterion

_NOBODY = "no Prometheus is configured to be asked"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: the alert's name and labels, whether it is still listed by an Alertmanager
    (None where that can't be asked), and from when on a rule must have been evaluated.
    """

    name: str
    labels: Mapping[str, str]
    is_listed: bool | None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Before:
    """What was measured before an act: the number, or the score and the values of indicators."""

    value: float | None = None
    values: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The time that objectives are about: until a Unix time (None: now), for so many seconds."""

    ends_at: float | None = None
    seconds: float = 600.0


NOTHING, NOW = Before(), Window()


class Judge:
    """Asks one Prometheus; without one it can't tell anything."""

    def __init__(self, prometheus: Prometheus | None, max_age: float) -> None:
        self._prometheus = prometheus
        self._max_age = max_age

    async def before(self, criterion: Criterion, seconds: float) -> Before:
        """What is measured before an act, which *worse* and relative objectives compare with; for
        objectives, over so many seconds.
        """
        if self._prometheus is None or criterion.kind == "alert":
            return NOTHING
        if criterion.kind == "slo":
            return await self._before(self._prometheus, criterion, seconds)
        try:
            return Before(await self._prometheus.number(criterion.query))
        except NoAnswer:
            return NOTHING

    async def _before(self, prometheus: Prometheus, criterion: Criterion, seconds: float) -> Before:
        try:
            found = await objectives.look(prometheus, self._max_age, criterion, seconds, None)
        except NoAnswer:
            return Before(values={})
        return Before(found.value, found.values)

    async def look(
        self,
        criterion: Criterion,
        subject: Subject,
        before: Before = NOTHING,
        window: Window = NOW,
    ) -> Finding:
        """What the criterion says now; of objectives, what they come to in that window."""
        if self._prometheus is None:
            return Finding(None, _NOBODY)
        try:
            await self._prometheus.see_that_it_has_run()
            if criterion.kind == "promql":
                return await self._by_number(self._prometheus, criterion, before.value)
            if criterion.kind == "slo":
                return await self._by_objectives(self._prometheus, criterion, before, window)
            return await self._by_alert(self._prometheus, criterion, subject)
        except NoAnswer as error:
            return Finding(None, str(error))

    async def _by_objectives(
        self, prometheus: Prometheus, criterion: Criterion, before: Before, window: Window
    ) -> Finding:
        asked = prometheus if window.ends_at is None else prometheus.at(window.ends_at)
        found = await objectives.look(
            asked, self._max_age, criterion, window.seconds, before.values
        )
        if found.good is not None and criterion.evidence:
            await self._evidence(asked, criterion.evidence, {})
        return found if found.good else _compared(found, criterion, before.value)

    async def _by_number(
        self, prometheus: Prometheus, criterion: Criterion, start_value: float | None
    ) -> Finding:
        want = comparison(criterion.want)
        if want is None:
            return Finding(None, f"{criterion.want!r} is no comparison")
        value = await prometheus.number(criterion.query)
        await self._see_that_it_is_fresh(prometheus, criterion.query, {})
        if criterion.evidence:
            await self._evidence(prometheus, criterion.evidence, {})
        good = want.holds(value)
        text = f"{value:.6g} is {'' if good else 'not '}{criterion.want}"
        is_worse = not good and _is_worse(criterion, want, value, start_value)
        return Finding(good, text, value, is_worse, want.bound)

    async def _by_alert(
        self, prometheus: Prometheus, criterion: Criterion, subject: Subject
    ) -> Finding:
        name = subject.name.replace("\\", "\\\\").replace('"', '\\"')
        found = await prometheus.samples(f'ALERTS{{alertname="{name}"}}')
        there = [each for each in found if is_of(each.labels, subject.labels)]
        if there:
            state = there[0].labels.get("alertstate", "there")
            text = f"the alert {subject.name} is {state}"
            return Finding(False, text, *await self._seen(prometheus, criterion, subject))
        rules = await prometheus.alert_rules(subject.name)
        evidence, bound = _evidence_of(criterion, self._sound(rules, subject))
        if not evidence:
            return Finding(
                None, f"the rule of {subject.name} compares no number: the remedy needs evidence"
            )
        value = await self._evidence(prometheus, evidence, subject.labels)
        if subject.is_listed is None:
            return Finding(None, "no Alertmanager can be asked whether the alert is gone")
        if subject.is_listed:
            return Finding(False, f"Alertmanager still lists {subject.name}", value, bound=bound)
        text = f"the alert {subject.name} is gone; {value:.6g} is measured"
        return Finding(True, text, value, bound=bound)

    async def _seen(
        self, prometheus: Prometheus, criterion: Criterion, subject: Subject
    ) -> tuple[float | None, bool, float | None]:
        """What is measured while the alert is there, for people: value, not worse, bound."""
        try:
            rules = (await prometheus.alert_rules(subject.name)).listed
            query = str(rules[0].get("query") or "") if rules else ""
            evidence, bound = _evidence_of(criterion, query)
            value = await self._evidence(prometheus, evidence, subject.labels) if evidence else None
        except NoAnswer:
            return None, False, None
        return value, False, bound

    def _sound(self, rules: Rules, subject: Subject) -> str:
        """The expression of a rule that is healthy and was evaluated since.

        Raises:
            NoAnswer: there is none.
        """
        if not rules.listed:
            raise NoAnswer(f"Prometheus has no rule {subject.name}")
        for rule in rules.listed:
            if rule.get("health") != "ok":
                raise NoAnswer(
                    f"the rule {subject.name} can't be evaluated: {rule.get('lastError')}"
                )
            if _time(rule.get("lastEvaluation")) + rules.ahead < subject.since:
                raise NoAnswer(f"the rule {subject.name} was not evaluated since")
        return str(rules.listed[0].get("query") or "")

    async def _evidence(
        self, prometheus: Prometheus, evidence: str, labels: Mapping[str, str]
    ) -> float:
        """A finite fresh number of what the alert is about.

        Raises:
            NoAnswer: there is none.
        """
        found = await prometheus.samples(evidence)
        about: list[Sample] = [each for each in found if is_of(each.labels, labels)]
        if not about:
            raise NoAnswer(f"no evidence: {evidence[:200]} answers nothing")
        if not all(math.isfinite(each.value) for each in about):
            raise NoAnswer(f"no evidence: {evidence[:200]} is no number")
        # A sum has lost labels, and what it sums may have others than the alert.
        kept = {name: value for name, value in labels.items() if name in about[0].labels}
        await self._see_that_it_is_fresh(prometheus, evidence, kept)
        return about[0].value

    async def _see_that_it_is_fresh(
        self, prometheus: Prometheus, query: str, labels: Mapping[str, str]
    ) -> None:
        series = selectors(query)
        if not series:
            raise NoAnswer(f"{query[:200]} measures nothing")
        await prometheus.see_that_it_is_fresh(series, self._max_age, labels)


def _evidence_of(criterion: Criterion, rule: str) -> tuple[str, float | None]:
    """What is measured beside an alert, and the number that its rule compares that with."""
    measured, bound = compared(rule)
    # A query of the author's may measure something else.
    own = criterion.evidence
    return (own, bound if own == measured else None) if own else (measured, bound)


def _is_worse(criterion: Criterion, want: Want, value: float, start_value: float | None) -> bool:
    if criterion.worse_by is None or start_value is None:
        return False
    return want.distance(value) - want.distance(start_value) >= criterion.worse_by


def _compared(found: Finding, criterion: Criterion, score: float | None) -> Finding:
    """Whether objectives that fail have lost so many percent of the score."""
    if found.good is None or None in (criterion.worse_by, score, found.value):
        return found
    lost = cast("float", score) - cast("float", found.value)
    return replace(found, is_worse=lost >= cast("float", criterion.worse_by))


def _time(written: object) -> float:
    try:
        return datetime.fromisoformat(str(written)).timestamp()
    except ValueError:
        return 0.0
