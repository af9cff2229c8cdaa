"""Writes the figures of bench/results.json into the pages that quote them: `python -m bench.page`.

What it writes stands between two comments, `figures` and `/figures`. A test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results.json"
PERFORMANCE = ROOT / "docs/performance.md"
README = ROOT / "README.md"
WIDTH = 100

_QUOTED = re.compile(r"(?<=<!-- figures -->\n\n).*?(?=\n\n<!-- /figures -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Each page as it should be."""
    results = json.loads(RESULTS.read_text("utf-8"))
    quoted = {PERFORMANCE: _table(results), README: _sentences(results["figures"])}
    return {path: _replaced(path.read_text("utf-8"), text) for path, text in quoted.items()}


def _replaced(page: str, text: str) -> str:
    replaced, places = _QUOTED.subn(lambda _: text, page)
    if places != 1:
        raise ValueError(f"the page has {places} places for figures, and one is expected")
    return replaced


def _table(results: Mapping[str, Any]) -> str:
    return "\n".join(_lines(results["machine"], results["figures"]))


def _lines(machine: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']},"
        f" SQLite {machine['sqlite']}:"
    )
    yield ""
    yield "| figure | unit | ours | floor | ratio | rounds | budget | |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, figure in figures.items():
        cells = (
            f"`{name}`",
            figure["unit"],
            _number(figure["ours"]),
            _number(figure["floor"]),
            "" if figure["ratio"] is None else f"{figure['ratio']:.2f}",
            str(figure["notes"].get("ratios", "")).replace("-", " to "),
            f"{'≥' if figure['better'] == 'higher' else '<'} {figure['target']:g}",
            "met" if figure["met"] else "**missed**",
        )
        yield f"| {' | '.join(cells)} |"


def _sentences(figures: Mapping[str, Mapping[str, Any]]) -> str:
    loop, memory, recovery = (figures[name] for name in ("whole-loop", "in-flight", "recovery"))
    text = (
        f"The whole loop runs at {loop['ratio']:.2f} of the rate of a bare aiohttp handler that"
        f" makes the same two POSTs, and {memory['notes']['executions']:,} executions under way"
        f" take {_number(memory['ours'])} MB. After a `kill -9` with"
        f" {recovery['notes']['open executions']:,} open executions, the next process has finished"
        f" and reported all of them within {_number(recovery['ours'])} s."
    )
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _number(value: float | None) -> str:
    """As `make bench` prints it."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    for path, page in pages().items():
        path.write_text(page, "utf-8")
