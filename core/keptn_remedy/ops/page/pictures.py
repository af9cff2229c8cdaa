"""Small pictures, as numbers that the templates draw in SVG. Each comes with its words, for those
who don't see it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keptn_remedy.guardrails.units import counted
from keptn_remedy.journal import TOOK_SECONDS, Hour
from keptn_remedy.ops.page.views.shown import lasted

TONES: Mapping[str, str] = {
    "pass": "good",
    "warning": "warn",
    "refused": "off",
    "aborted": "off",
    "fail": "bad",
    "errored": "bad",
}
"""How each outcome is painted, from the bottom of a bar to its top."""
_ORDER = ("good", "warn", "off", "bad")
_WORDS = {"good": "passed", "warn": "with a warning", "off": "refused or aborted", "bad": "failed"}
HEIGHT = 60.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a bar, in the units of the drawing; `words` show under the pointer."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, what stands below them, and all of it in words."""

    bars: Sequence[Bar]
    labels: Sequence[tuple[float, str]]
    width: float
    words: str


def outcomes(hours: Sequence[Hour]) -> Chart:
    """What ended in each hour, stacked."""
    counts = [_by_tone(hour.ended) for hour in hours]
    most = max((sum(each.values()) for each in counts), default=0)
    step, bars = 12.0, list[Bar]()
    for place, (hour, each) in enumerate(zip(hours, counts, strict=True)):
        y, begin = HEIGHT, f"{datetime.fromtimestamp(hour.begin, UTC):%H:%M}"
        for tone in _ORDER:
            if number := each[tone]:
                height = max(1.0, number / most * (HEIGHT - 4))
                y -= height
                words = f"{begin} UTC: {number} {_WORDS[tone]}"
                bars.append(
                    Bar(place * step + 1, round(y, 2), step - 2, round(height, 2), tone, words)
                )
    labels = [
        (place * step + step / 2, f"{datetime.fromtimestamp(hour.begin, UTC):%H}")
        for place, hour in enumerate(hours)
        if datetime.fromtimestamp(hour.begin, UTC).hour % 6 == 0
    ]
    return Chart(bars, labels, step * len(hours), _outcomes_in_words(counts))


def times(hours: Sequence[Hour]) -> Chart:
    """How long it took from the event to a good end."""
    took = sum((Counter(hour.took) for hour in hours), Counter[float]())
    most = max(took.values(), default=0)
    step, bars, labels = 40.0, list[Bar](), list[tuple[float, str]]()
    for place, bound in enumerate((*TOOK_SECONDS, math.inf)):
        words = f"≤ {_short(bound)}" if bound < math.inf else f"> {_short(TOOK_SECONDS[-1])}"
        labels.append((place * step + step / 2, words))
        if number := took[bound]:
            height = max(1.0, number / most * (HEIGHT - 4))
            text = f"{words}: {counted(number, 'execution')}"
            bars.append(
                Bar(
                    place * step + 4,
                    round(HEIGHT - height, 2),
                    step - 8,
                    round(height, 2),
                    "busy",
                    text,
                )
            )
    return Chart(bars, labels, step * len(labels), _times_in_words(took))


def _short(seconds: float) -> str:
    return f"{seconds:g}s" if seconds < 60 else f"{seconds / 60:g}m"


def _by_tone(ended: Mapping[str, int]) -> Counter[str]:
    found = Counter[str]()
    for how, number in ended.items():
        found[TONES.get(how, "bad")] += number
    return found


def _outcomes_in_words(counts: Sequence[Counter[str]]) -> str:
    total = sum(counts, Counter[str]())
    if not total:
        return "Nothing ended in the last 24 hours."
    parts = [f"{total[tone]} {_WORDS[tone]}" for tone in _ORDER if total[tone]]
    return f"In the last 24 hours: {', '.join(parts)}."


def _times_in_words(took: Mapping[float, int]) -> str:
    total = sum(took.values())
    if not total:
        return "Nothing passed in the last 24 hours."
    reached, bound = 0, math.inf
    for bound in (*TOOK_SECONDS, math.inf):
        reached += took.get(bound, 0)
        if reached * 2 >= total:
            break
    half = f"within {lasted(bound)}" if bound < math.inf else f"after {lasted(TOOK_SECONDS[-1])}"
    passed = f"{counted(total, 'execution')} passed, also with a warning"
    return f"In the last 24 hours: {passed}, {'' if total == 1 else 'half of them '}{half}."


@dataclass(frozen=True, slots=True)
class Pair:
    """Two bars of the same scale: before and after."""

    before: float
    after: float


def pair(before: str, after: str) -> Pair:
    """The lengths of two numbers, of 100."""
    numbers = [abs(float(before)), abs(float(after))]
    most = max(*numbers, 1e-9)
    return Pair(*(round(number / most * 100, 1) for number in numbers))
