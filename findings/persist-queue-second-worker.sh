#!/usr/bin/env bash
# persist-queue 1.1.0: a worker that opens an SQLiteAckQueue takes over the work of those that run.
#
# Guess: an item that a worker has taken and not yet acknowledged comes back when that worker has
#   died. Another worker that starts on the same file gets the next item.
# Seen: opening the queue makes all unacknowledged items ready, those of living workers too. The
#   second worker gets the item that the first one is working on. If the first one has acknowledged it
#   and the second one then fails, its `nack` brings the finished item back, and a third worker does
#   it once more.
# Do: open with `auto_resume=False`, and let one place alone decide whose items are taken back.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install persist-queue==1.1.0

cat >"$folder/worker.py" <<'PY'
"""A worker in a process of its own: it does what its lines of input say."""
import sys

from persistqueue import Empty, SQLiteAckQueue

queue = SQLiteAckQueue(sys.argv[1], auto_resume=sys.argv[2] == "resume")
item = None
for line in sys.stdin:
    what = line.strip()
    if what == "get":
        try:
            item = queue.get(block=False)
        except Empty:
            item = None
        said = item
    elif what.startswith("put "):
        said = queue.put(what.removeprefix("put "))
    elif what in ("ack", "nack"):
        getattr(queue, what)(item)
        said = what
    print(said, flush=True)
PY

"$folder/venv/bin/python" - "$folder" <<'PY'
import subprocess
import sys
from importlib.metadata import version

print("persist-queue", version("persist-queue"))
folder = sys.argv[1]


class Worker:
    def __init__(self, queue, resume):
        command = [sys.executable, f"{folder}/worker.py", f"{folder}/{queue}", resume]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def does(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def second_worker(resume):
    """What a second worker gets while the first one works, and a third one after both."""
    first = Worker(resume, resume)
    first.does("put restart web")
    seen = [first.does("get")]
    second = Worker(resume, resume)
    seen.append(second.does("get"))
    first.does("ack")
    if seen[1] != "None":
        second.does("nack")
    first.end()
    second.end()
    third = Worker(resume, resume)
    seen.append(third.does("get"))
    third.end()
    return seen


seen = {resume: second_worker(resume) for resume in ("resume", "no resume")}
recorded = {
    "resume": ["restart web", "restart web", "restart web"],
    "no resume": ["restart web", "None", "None"],
}
for resume, (first, second, third) in seen.items():
    print(f"{resume}: the first gets {first}, the second {second}, a third one {third}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
