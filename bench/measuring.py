"""How a figure is measured: for how long, beside which floor, and when its target is met."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from bench import load
from bench.load import Rate
from bench.servers import Server
from bench.sink import Sink


@dataclass(frozen=True)
class Effort:
    """How long each figure is measured."""

    rounds: int
    warm_up: float
    seconds: float
    repeats: int
    past_executions: int


FULL = Effort(rounds=7, warm_up=0.7, seconds=2.0, repeats=3, past_executions=1_000_000)
QUICK = Effort(rounds=3, warm_up=0.5, seconds=1.0, repeats=1, past_executions=100_000)


@dataclass(frozen=True)
class Bench:
    """What every scenario needs. `folder` is on a real disk."""

    folder: Path
    sink: Sink
    effort: Effort


@dataclass(frozen=True)
class Figure:
    """One measured figure. What is compared with `target` is the ratio, where there is a floor."""

    name: str
    unit: str
    ours: float
    target: float
    better: Literal["higher", "lower"]
    floor: float | None = None
    ratio: float | None = None
    notes: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        reached = self.ours if self.ratio is None else self.ratio
        return reached >= self.target if self.better == "higher" else reached < self.target


@dataclass(frozen=True)
class Contender:
    """A server, and the sink at which its loops end if they don't end with the answer."""

    server: Server
    sink: Sink | None = None
    next_at_started: bool = False
    over: load.Poster | None = None
    first_service: int = 0
    sending: load.Sending = load.EVENTS

    async def rate(self, effort: Effort) -> Rate:
        return await load.rate(
            self.server,
            warm_up=effort.warm_up,
            seconds=effort.seconds,
            until_finished_at=self.sink,
            next_at_started=self.next_at_started,
            over=self.over,
            first_service=self.first_service,
            sending=self.sending,
        )


async def compared(
    name: str,
    effort: Effort,
    floor: Contender,
    ours: Contender,
    *,
    target: float,
    notes: dict[str, float | int | str] | None = None,
) -> Figure:
    """Rounds of both in turn, so that whatever else the machine does hits both alike."""
    rounds = [(await floor.rate(effort), await ours.rate(effort)) for _ in range(effort.rounds)]
    ratios = [our.per_second / its.per_second for its, our in rounds]
    return Figure(
        name,
        "events/s",
        median(our.per_second for _, our in rounds),
        target,
        "higher",
        floor=median(its.per_second for its, _ in rounds),
        ratio=median(ratios),
        notes={
            "ratios": f"{min(ratios):.2f}-{max(ratios):.2f}",
            "floor CPU us/event": round(median(its.cpu_us for its, _ in rounds)),
            "our CPU us/event": round(median(our.cpu_us for _, our in rounds)),
            "CPU ratio": round(median(its.cpu_us / our.cpu_us for its, our in rounds), 3),
            "load core busy": f"{max(r.load_busy for pair in rounds for r in pair):.0%}",
            **(notes or {}),
        },
    )
