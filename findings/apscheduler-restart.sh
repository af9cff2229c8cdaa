#!/usr/bin/env bash
# APScheduler 3.11.3: each restart lets an interval begin anew, and resumes a paused job.
#
# Guess: a job store in a database keeps when a job is due, and that it is paused, over a restart. A
#   program that adds its jobs at each start with an id and `replace_existing=True`, as the guide
#   demands, finds them as they were.
# Seen: the job is replaced whole. One that runs every 24 hours is due 24 hours after the last
#   restart: where a deployment comes each day, it never runs, and nothing calls it missed. One that
#   an operator has paused runs again.
# Do: add a job only when `get_job` finds none, or use a cron trigger, and keep pauses elsewhere.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  apscheduler==3.11.3 sqlalchemy==2.0.44

"$folder/venv/bin/python" - "sqlite:///$folder/jobs.sqlite" <<'PY'
import sys
import time
from importlib.metadata import version

from apscheduler.events import EVENT_ALL, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

print("APScheduler", version("apscheduler"))
EVERY, UP, RESTARTS = 4, 2, 4
told = []


def tidy():
    """The job."""


def start(name, *, replace):
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=sys.argv[1], tablename=name)},
        job_defaults={"misfire_grace_time": 60},
    )
    scheduler.add_listener(lambda event: told.append(event.code), EVENT_ALL)
    scheduler.start(paused=True)
    if replace or not scheduler.get_job("tidy"):
        scheduler.add_job(tidy, "interval", seconds=EVERY, id="tidy", replace_existing=True)
    scheduler.resume()
    return scheduler


def events(name, *, replace):
    """How often the job runs, and is missed, over some restarts."""
    told.clear()
    for _ in range(RESTARTS):
        scheduler = start(name, replace=replace)
        time.sleep(UP)
        scheduler.shutdown()
    return told.count(EVENT_JOB_EXECUTED) > 0, told.count(EVENT_JOB_MISSED)


def is_paused(name, *, replace):
    """Whether a paused job is paused after a restart."""
    scheduler = start(name, replace=replace)
    scheduler.pause_job("tidy")
    scheduler.shutdown()
    scheduler = start(name, replace=replace)
    paused = scheduler.get_job("tidy").next_run_time is None
    scheduler.shutdown()
    return paused


seen = {}
for how, replace in (("replaced", True), ("kept", False)):
    runs, missed = events(how, replace=replace)
    seen[how] = {"runs": runs, "missed": missed, "still paused": is_paused(how, replace=replace)}
recorded = {
    "replaced": {"runs": False, "missed": 0, "still paused": False},
    "kept": {"runs": True, "missed": 0, "still paused": True},
}
print(f"a job every {EVERY} s, in a program that starts {RESTARTS} times, {UP} s apart")
for how, what in seen.items():
    print(f"{how} at each start: {what}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
