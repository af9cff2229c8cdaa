#!/usr/bin/env bash
# croniter 7.0.0: a job that is daily at 02:30 runs twice in the night in which the clocks go back.
#
# Guess: a daily job is due once a day, also where 02:30 comes twice. So cron has it, and cronsim.
# Seen: croniter gives 02:30 in summer time and 02:30 in winter time. In spring it gives a job of
#   every second hour at 03:00 and at 04:00.
# Do: keep the local date of the last run, and run a daily job once for each; or give the times in UTC.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  croniter==7.0.0 cronsim==2.8

"$folder/venv/bin/python" - <<'PY'
import sys
from datetime import datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

print(*(f"{name} {version(name)}" for name in ("croniter", "cronsim")))
BERLIN = ZoneInfo("Europe/Berlin")
BACK = datetime(2026, 10, 25, 0, 50, tzinfo=BERLIN)
FORTH = datetime(2026, 3, 29, 0, 50, tzinfo=BERLIN)


def by_croniter(expression, start):
    times = croniter(expression, start)
    return [times.get_next(datetime) for _ in range(2)]


def by_cronsim(expression, start):
    times = CronSim(expression, start)
    return [next(times) for _ in range(2)]


seen = {}
for expression, start in (("30 2 * * *", BACK), ("0 */2 * * *", FORTH)):
    for due in (by_croniter, by_cronsim):
        times = [f"{time:%d. %H:%M%z}" for time in due(expression, start)]
        seen[due.__name__, expression] = times
        print(f"{due.__name__} of {expression}: {' and '.join(times)}")
recorded = {
    ("by_croniter", "30 2 * * *"): ["25. 02:30+0200", "25. 02:30+0100"],
    ("by_cronsim", "30 2 * * *"): ["25. 02:30+0200", "26. 02:30+0100"],
    ("by_croniter", "0 */2 * * *"): ["29. 03:00+0200", "29. 04:00+0200"],
    ("by_cronsim", "0 */2 * * *"): ["29. 04:00+0200", "29. 06:00+0200"],
}
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
