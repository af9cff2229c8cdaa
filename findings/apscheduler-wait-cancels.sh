#!/usr/bin/env bash
# APScheduler 3.11.3: `AsyncIOScheduler.shutdown(wait=True)` cancels the jobs it should wait for.
#
# Guess: `wait` means "wait until all currently executing jobs have finished", as documented. It is
#   the default.
# Seen: on asyncio a coroutine job is cancelled at its next `await`, and `shutdown` returns before it
#   has noticed. The job store no longer has a job that was due once: nobody finishes its work. A
#   BackgroundScheduler, with the same words in its documentation, does wait.
# Do: keep the tasks of your jobs yourself, pause the scheduler, and await them before `shutdown`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install apscheduler==3.11.3

"$folder/venv/bin/python" - <<'PY'
import asyncio
import logging
import sys
import time
from importlib.metadata import version

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

print("APScheduler", version("apscheduler"))
logging.disable()
TAKES = 1


class Job:
    def __init__(self):
        self.told = []

    async def coroutine(self):
        self.told.append("begins")
        try:
            await asyncio.sleep(TAKES)
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise
        self.told.append("ends")

    def function(self):
        self.told.append("begins")
        time.sleep(TAKES)
        self.told.append("ends")


async def until_begun(job):
    async with asyncio.timeout(20):
        while not job.told:
            await asyncio.sleep(0.01)


async def ends(scheduler, job, function):
    """What the job says by the end of `shutdown`, and two seconds later; what is left of it."""
    scheduler.start()
    scheduler.add_job(function, id="job")
    await until_begun(job)
    left = [job.id for job in scheduler.get_jobs()]
    scheduler.shutdown(wait=True)
    at_once = " ".join(job.told)
    await asyncio.sleep(2 * TAKES)
    return at_once, " ".join(job.told), left


job = Job()
seen = {"AsyncIOScheduler, coroutine": asyncio.run(ends(AsyncIOScheduler(), job, job.coroutine))}
job = Job()
seen["BackgroundScheduler, function"] = asyncio.run(ends(BackgroundScheduler(), job, job.function))
recorded = {
    "AsyncIOScheduler, coroutine": ("begins", "begins cancelled", []),
    "BackgroundScheduler, function": ("begins ends", "begins ends", []),
}
for what, (at_once, later, left) in seen.items():
    print(f"{what}: when shutdown returns: {at_once}; later: {later}; jobs in the store: {left}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
