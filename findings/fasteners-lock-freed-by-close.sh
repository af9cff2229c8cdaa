#!/usr/bin/env bash
# fasteners 0.20: a lock of one process is lost when another part of that process closes the file.
#
# Guess: InterProcessLock excludes others until it is released: another process, and another lock
#   object of the same file in this process.
# Seen: a second object in the same process gets the lock as well. When it is released, or anything
#   else in the process opens and closes the file, the first one says `acquired` as before, and
#   another process gets the lock. (The locks of POSIX belong to a process, and any close ends them.)
# Do: have one lock object for each file in a process, and nothing else that opens the file; or use
#   `flock`, whose locks belong to what was opened.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install fasteners==0.20

"$folder/venv/bin/python" - "$folder" <<'PY'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from fasteners import InterProcessLock

print("fasteners", version("fasteners"))
TRY = "import sys, fasteners; print(fasteners.InterProcessLock(sys.argv[1]).acquire(blocking=False))"


def another_process_gets(path):
    answer = subprocess.run(
        [sys.executable, "-c", TRY, str(path)], capture_output=True, check=True, text=True
    )
    return answer.stdout.strip() == "True"


def second_lock(path):
    other = InterProcessLock(path)
    got = other.acquire(blocking=False)
    other.release()
    return got


def reader(path):
    return path.read_text()


seen = {}
for loses_it in (second_lock, reader):
    path = Path(sys.argv[1]) / loses_it.__name__
    lock = InterProcessLock(path)
    assert lock.acquire(blocking=False)
    before = another_process_gets(path)
    result = loses_it(path)
    seen[loses_it.__name__] = (before, result, lock.acquired, another_process_gets(path))
    print(f"{loses_it.__name__}: another process gets the lock: {before} before,", end=" ")
    print(f"{seen[loses_it.__name__][3]} after; the holder says acquired: {lock.acquired}")
recorded = {"second_lock": (False, True, True, True), "reader": (False, "", True, True)}
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
