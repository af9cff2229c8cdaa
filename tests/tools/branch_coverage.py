"""Prints which share of the branches the tests took: `make test coverage COVERAGE=1`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage

LEAST_COVERED = 15


def measured() -> dict[str, tuple[int, int]]:
    """By file, how many branches were taken, and how many there are."""
    coverage = Coverage(messages=False)
    coverage.load()
    with TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(report))
        files: dict[str, Any] = json.loads(report.read_text("utf-8"))["files"]
    found = {path: file["summary"] for path, file in files.items()}
    return {path: (sums["covered_branches"], sums["num_branches"]) for path, sums in found.items()}


def main() -> None:
    files = measured()
    taken, there = Counter[str](), Counter[str]()
    for path, (covered, branches) in files.items():
        part = path.partition("/")[0]
        taken[part] += covered
        there[part] += branches
    missed = sorted(files.items(), key=lambda item: item[1][0] - item[1][1])
    print(f"branches never taken, in the {LEAST_COVERED} files that have most of them:")
    for path, (covered, branches) in missed[:LEAST_COVERED]:
        print(f"  {branches - covered:4} of {branches:4}  {path}")
    shares = (f"{part} {taken[part] / (there[part] or 1):.1%}" for part in sorted(there))
    print(f"branches taken: {', '.join(shares)}")


if __name__ == "__main__":
    main()
