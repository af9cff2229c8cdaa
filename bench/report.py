"""Runs the scenarios, prints the table and writes the results."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench import sink
from bench.measuring import FULL, QUICK, Bench, Effort, Figure
from bench.page_scenarios import PAGE_SCENARIOS
from bench.scenarios import SCENARIOS as EVENT_SCENARIOS
from bench.servers import LOAD_CORE, SERVER_CORE

SCENARIOS = {**EVENT_SCENARIOS, **PAGE_SCENARIOS}
BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results.json"
SCRATCH = BENCH.parent / "var"  # /tmp may be memory, where fsync costs nothing


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed and memory beside the bare floor.")
    parser.add_argument("--quick", action="store_true", help="shorter and rougher")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="only this figure")
    arguments = parser.parse_args()
    names: list[str] = arguments.only or list(SCENARIOS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_measured(names, QUICK if arguments.quick else FULL))
    missed = [figure.name for figure in figures if not figure.met]
    print(f"MISSED: {', '.join(missed)}" if missed else "Every target is met.")
    if arguments.quick or arguments.only:
        print("results.json is left alone: this was no whole run.")
    else:
        RESULTS.write_text(json.dumps(_results(figures), indent=2) + "\n", "utf-8")
        print(f"Written to {RESULTS}.")


async def _measured(names: Sequence[str], effort: Effort) -> list[Figure]:
    task = asyncio.current_task()
    if task is not None:  # stop what was started, also when we are told to stop
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    os.sched_setaffinity(0, {LOAD_CORE})
    SCRATCH.mkdir(exist_ok=True)
    print(f"Server on core {SERVER_CORE}, load and sink on core {LOAD_CORE}.")
    print(_line("", "unit", "ours", "floor", "ratio", "target", ""))
    figures = []
    async with sink.listening() as reports:
        for name in names:
            reports.forget()
            with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as folder:
                began = time.perf_counter()
                figure = await SCENARIOS[name](Bench(Path(folder), reports, effort))
                _show(figure, time.perf_counter() - began)
            figures.append(figure)
    return figures


def _show(figure: Figure, seconds: float) -> None:
    sign = ">=" if figure.better == "higher" else "<"
    print(
        _line(
            figure.name,
            figure.unit,
            _number(figure.ours),
            _number(figure.floor),
            _number(figure.ratio),
            f"{sign} {figure.target:g}",
            "met" if figure.met else "MISSED",
        )
    )
    notes = ", ".join(f"{name}: {value}" for name, value in figure.notes.items())
    print(f"    {notes} ({seconds:.0f} s)", flush=True)


def _line(*cells: str) -> str:
    widths = (14, 14, 10, 10, 8, 10, 6)
    return " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _results(figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "figures": {
            figure.name: {
                "unit": figure.unit,
                "ours": round(figure.ours, 4),
                "floor": figure.floor and round(figure.floor, 4),
                "ratio": figure.ratio and round(figure.ratio, 3),
                "target": figure.target,
                "better": figure.better,
                "met": figure.met,
                "notes": figure.notes,
            }
            for figure in figures
        },
    }


def _processor() -> str:
    """As Linux calls it; elsewhere the kind of machine must do."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
