"""Which actions are tried, and what each is found to have done, where objectives judge: beside
tables of Keptn's rules: that of test_keptn_rungs.py, and this one.

It is written from what the lighthouse of Keptn 1.4.5 does. One set of a criterion must hold,
with all its lines. A sign or a percentage makes a line relative; without an earlier value such a
line holds. An objective without `pass` is only shown. The weights of what passes count, and half of
what warns; their share of all weights is compared with `total_score`. A failed `key_sli` fails the
whole. No objectives fail. It knows nothing of the code that is tested.

Not as in Keptn, and on purpose: a value that is missing, and nothing that could be scored, can't be
told. The next action follows a result that failed, and no other.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

from keptn_remedy.standalone import ladder, objectives, remedy_files
from keptn_remedy.standalone.ladder import Ended
from keptn_remedy.standalone.prometheus import NoAnswer, Prometheus
from keptn_remedy.standalone.rules import LadderRules, remedies
from tests.standalone.test_keptn_rungs import by_keptns_rules
from tests.standalone.test_keptn_rungs import generated as generated_remedy
from tests.standalone.test_ladder import EPISODE, NOW

CASES = 200
PLACE = ("shop", "prod", "carts")
RULES = LadderRules(wait=60, window=600)
BY_SLO = "- evaluation: {slo: {}}\n          action:"
INDICATORS = ("errors", "latency", "rate")
VALUES = (0, 10, 80, 90, 95, 100, 105, 110, 200)
BEFORE = 100
Values = Mapping[str, int]


class Line(NamedTuple):
    """A line of a criterion: `sign` is "" where it has none, `bound` a whole number."""

    compares: str
    sign: str
    bound: int
    is_share: bool

    def written(self, space: str) -> str:
        return f"{self.compares}{space}{self.sign}{self.bound}{'%' if self.is_share else ''}"


Sets = list[list[Line]]


class Objective(NamedTuple):
    sli: str
    weight: int | None
    is_key: bool
    passing: Sets
    warning: Sets


class Case(NamedTuple):
    """A slo.yaml as text and as what it says; and for each action, what is measured after it.
    `total` are the percentages to pass and to warn.
    """

    text: str
    objectives: list[Objective]
    total: tuple[int | None, int | None]
    before: Values | None
    after: list[Values]


def line(chance: random.Random) -> Line:
    is_relative = chance.random() < 0.4
    compares = chance.choice(("<", "<=", "=", ">=", ">"))
    if not is_relative:
        return Line(compares, "", chance.choice((0, 90, 100, 105)), is_share=False)
    sign = chance.choice(("+", "-", ""))
    is_share = not sign or chance.random() < 0.5
    return Line(compares, sign, chance.choice((5, 10, 20)), is_share)


def sets(chance: random.Random, most: int) -> Sets:
    numbers = [chance.choice((1, 1, 2)) for _ in range(chance.randint(0, most))]
    return [[line(chance) for _ in range(number)] for number in numbers]


def generated(seed: int, tries: int) -> Case:
    chance = random.Random(f"slo {seed}")  # noqa: S311
    found = [
        Objective(
            sli,
            chance.choice((None, 0, 1, 2, 3)),
            chance.random() < 0.2,
            sets(chance, 3) if chance.random() < 0.85 else [],
            sets(chance, 2) if chance.random() < 0.5 else [],
        )
        for sli in INDICATORS[: chance.choice((0, 1, 2, 2, 3, 3, 3))]
    ]
    passing = chance.choice((50, 75, 90, 90, 90)) if found and chance.random() < 0.95 else None
    passing = 90 if not found else passing
    total = (passing, chance.choice((None, 25, 50)))
    before: Values | None = None if chance.random() < 0.2 else dict.fromkeys(INDICATORS, BEFORE)
    after: list[Values] = [
        {sli: chance.choice(VALUES) for sli in INDICATORS if chance.random() < 0.97}
        for _ in range(tries)
    ]
    return Case(as_text(found, total, chance), found, total, before, after)


def as_text(
    found: Sequence[Objective], total: tuple[int | None, int | None], chance: random.Random
) -> str:
    """The file as people write it: with or without spaces in a line, quoted."""

    def of(these: Sets) -> list[Any]:
        space = chance.choice(("", " "))
        return [{"criteria": [each.written(space) for each in lines]} for lines in these]

    listed: list[dict[str, Any]] = []
    for each in found:
        one: dict[str, Any] = {"sli": each.sli, "displayName": each.sli.title()}
        one |= {"weight": each.weight} if each.weight is not None else {}
        one |= {"key_sli": True} if each.is_key else {}
        one |= {"pass": of(each.passing)} if each.passing else {}
        one |= {"warning": of(each.warning)} if each.warning else {}
        listed.append(one)
    score = {
        name: f"{number}%"
        for name, number in zip(("pass", "warning"), total, strict=True)
        if number is not None
    }
    comparison = {"compare_with": "single_result", "aggregate_function": "avg"}
    whole = {"spec_version": "1.0", "comparison": comparison, "objectives": listed}
    return json.dumps({**whole, "total_score": score})


# The table.


def holds(it: Line, value: int, before: int | None) -> bool:
    """Whether a line holds."""
    bound = Fraction(it.bound)
    if it.sign or it.is_share:
        if before is None:
            return True
        by = -bound if it.sign == "-" else bound
        bound = before * (1 + by / 100) if it.is_share else before + by
    return {
        "<": value < bound,
        "<=": value <= bound,
        "=": value == bound,
        ">=": value >= bound,
        ">": value > bound,
    }[it.compares]


def said_by_keptn(case: Case, after: Values) -> str:
    """`pass`, `warning` or `fail`; "" where it can't be told."""
    if not case.objectives:
        return "fail"
    scored = [each for each in case.objectives if each.passing]
    passing, warning = case.total
    if not scored or passing is None or any(each.sli not in after for each in scored):
        return ""
    reached, possible, key_failed = Fraction(0), 0, False
    for each in scored:
        weight = each.weight or 1
        possible += weight
        before = case.before[each.sli] if case.before else None
        passes, warns = (
            any(all(holds(one, after[each.sli], before) for one in lines) for lines in these)
            for these in (each.passing, each.warning)
        )
        reached += weight if passes else Fraction(weight, 2) if warns else 0
        key_failed |= each.is_key and not passes and not warns
    score = reached / possible * 100
    if key_failed:
        return "fail"
    if score >= passing:
        return "pass"
    return "warning" if warning is not None and score >= warning else "fail"


def told_by_the_table(case: Case) -> list[str]:
    """The verdict of each action that is tried."""
    told: list[str] = []
    for after in case.after:
        said = said_by_keptn(case, after)
        told.append({"pass": "helped", "warning": "helped", "fail": "failed", "": "unknown"}[said])
        if told[-1] != "failed":
            break
    return told


# What is tested.


class Measured:
    """Answers each query by what is measured."""

    def __init__(self, values: Values) -> None:
        self._values = values

    async def number(self, query: str) -> float:
        if query not in self._values:
            raise NoAnswer("no data")
        return float(self._values[query])

    async def see_that_it_is_fresh(self, *_: object) -> None:
        """All of it is."""


async def climbed(entry: Mapping[str, Any], case: Case) -> list[str]:
    """The verdict of each action that the ladder tries."""
    episode = replace(EPISODE, remedy=entry, state="waiting")
    told: list[str] = []
    before = {sli: float(it) for sli, it in case.before.items()} if case.before else None
    while episode.state == "waiting":
        criterion = remedies(entry)[episode.index].criterion
        begun = ladder.begun(episode, None, NOW, before)
        rung = begun.rung
        assert rung
        episode = replace(episode, **begun.fields)
        done = ladder.ended(episode, rung, Ended("succeeded", "pass", "done"), NOW, RULES).rung
        assert done
        looking = ladder.measuring(episode, done, NOW + 60, RULES)
        assert looking
        assert looking.rung
        episode = replace(episode, **looking.fields)
        after = NOW + 60 + 600 + ladder.AGAIN_SECONDS
        prometheus = cast("Prometheus", Measured(case.after[len(told)]))
        try:
            finding = await objectives.look(prometheus, 60, criterion, 600, before)
        except NoAnswer as error:
            finding = ladder.Finding(None, str(error))
        move, verdict = ladder.judged(episode, looking.rung, finding, after, RULES)
        assert verdict
        told.append(verdict)
        episode = replace(episode, **move.fields)
    assert episode.state == ("helped" if told[-1] == "helped" else "escalated")
    return told


async def test_200_generated_files_are_tried_and_judged_as_keptn_does(
    tmp_path: Path,
) -> None:
    folder = tmp_path.joinpath(*PLACE)
    (folder / "prometheus").mkdir(parents=True)
    queries = "".join(f"  {each}: {each}\n" for each in INDICATORS)
    (folder / "prometheus/sli.yaml").write_text(f"indicators:\n{queries}")
    seen: list[str] = []
    for seed in range(CASES):
        remedy = generated_remedy(seed)
        rungs = by_keptns_rules(remedy)
        case = generated(seed, len(rungs or ()))
        (folder / "remediation.yaml").write_text(remedy.text.replace("- action:", BY_SLO))
        (folder / "slo.yaml").write_text(case.text)
        found = remedy_files.find(tmp_path, PLACE, remedy.names)
        told = f"seed {seed}\n{remedy.names}\n{remedy.text}\n{found.why}\n{case}"
        asked_for = found.entry and [(it["action"], it["value"]) for it in found.entry["rungs"]]
        assert asked_for == rungs, told
        assert bool(found.why) == (rungs is None), told
        if found.entry is None:
            seen.append("none")
            continue
        verdicts = await climbed(found.entry, case)
        assert verdicts == told_by_the_table(case), told
        seen += verdicts
    # The generator reaches every side of the tables.
    assert min(seen.count(each) for each in ("none", "helped", "failed", "unknown")) > 15
