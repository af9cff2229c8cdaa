"""The judge's curves: the numbers that it saw of an episode's tries, as drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from keptn_remedy.journal import Episode, Rung

WIDTH, HEIGHT = 640.0, 120.0
_MARGIN = 8.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across the drawing at `x`, where something acted; `words` say what and when."""

    x: float
    words: str


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured over time, in the units of the drawing. `bound` is the height of the line
    that the numbers are compared with, None where there is none; `words` say all of it.
    """

    title: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[Mark]
    bound: float | None
    labels: tuple[str, str]
    words: str

    @property
    def path(self) -> str:
        """The points as an SVG polyline has them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        width = WIDTH - 2 * _MARGIN
        return round(_MARGIN + (at - self.begin) / max(self.end - self.begin, 1e-9) * width, 1)

    def y(self, value: float) -> float:
        height = HEIGHT - 2 * _MARGIN
        share = (value - self.low) / max(self.high - self.low, 1e-9)
        return round(HEIGHT - _MARGIN - share * height, 1)


def curves(episode: Episode, rungs: Sequence[Rung]) -> list[Curve]:
    """A drawing for each run of tries that were judged by the same criterion."""
    entry: list[dict[str, Any]] = (episode.remedy or {}).get("rungs", [])

    def criterion(rung: Rung) -> str:
        return orjson.dumps(entry[rung.index].get("criterion", {})).decode()

    found = [
        _curve(list(group), _title(episode, orjson.loads(key)))
        for key, group in groupby(rungs, criterion)
    ]
    return [each for each in found if each]


def _title(episode: Episode, criterion: dict[str, Any]) -> str:
    if criterion.get("kind") == "promql":
        return f"{criterion.get('query', '')} wanted {criterion.get('want', '')}"
    if criterion.get("kind") == "slo":
        return "The score of slo.yaml"
    return str(criterion.get("evidence") or f"What the alert {episode.name} compares")


def _curve(rungs: Sequence[Rung], title: str) -> Curve | None:
    seen = [point for rung in rungs for point in _seen(rung)]
    if not seen:
        return None
    bounds = [rung.numbers["bound"] for rung in rungs if rung.numbers and "bound" in rung.numbers]
    bound = float(bounds[-1]) if bounds else None
    marks = [(rung.ended_at or rung.began_at, rung) for rung in rungs if rung.acted]
    times = [at for at, _ in seen] + [at for at, _ in marks]
    values = [value for _, value in seen] + ([] if bound is None else [bound])
    scale = _Scale(min(times), max(times), min(values), max(values))
    return Curve(
        title=title,
        points=[(scale.x(at), scale.y(value)) for at, value in seen],
        marks=[
            Mark(scale.x(at), f"{rung.index + 1}. {rung.action} acted at {_clock(at)} UTC")
            for at, rung in marks
        ],
        bound=None if bound is None else scale.y(bound),
        labels=(_clock(scale.begin), _clock(scale.end)),
        words=_in_words(seen, bound),
    )


def _seen(rung: Rung) -> list[tuple[float, float]]:
    points = [] if rung.start_value is None else [(rung.began_at, rung.start_value)]
    curve: list[list[float]] = (rung.numbers or {}).get("curve", [])
    return points + [(rung.began_at + seconds, value) for seconds, value in curve]


def _in_words(seen: Sequence[tuple[float, float]], bound: float | None) -> str:
    first, last = seen[0][1], seen[-1][1]
    words = f"It was {first:.6g} at first and {last:.6g} in the end"
    return f"{words}; the bound is {bound:.6g}." if bound is not None else f"{words}."


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"
