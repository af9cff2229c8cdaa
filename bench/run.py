"""`make bench`: speed and memory beside the bare floor, measured in the same run.

Prints a table; a whole run also writes bench/results.json, which `python -m bench.page`
quotes in the documents.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # our modules are `bench.…`, here as for mypy
    from bench.report import main

    main()
