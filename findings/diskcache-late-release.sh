#!/usr/bin/env bash
# diskcache 5.6.3: a worker whose lock has expired frees the lock of the next one.
#
# Guess: a Lock with `expire` can be released by its holder only. A holder that comes too late is told
#   so, or nothing happens.
# Seen: `release` deletes whatever lock is there, without an error. The next holder still works, and
#   a third one gets in beside it. The same goes for BoundedSemaphore.
# Do: use RLock, which refuses; it knows a holder by its process and thread. Or let the lock expire
#   later than the work is given up.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install diskcache==5.6.3

"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import threading
import time
from importlib.metadata import version

from diskcache import BoundedSemaphore, Cache, Lock, RLock

print("diskcache", version("diskcache"))
EXPIRES, LONG = 0.5, 600


def in_thread(function):
    """What the function returns, or the name of what it raises."""
    result = []

    def run():
        try:
            result.append(function())
        except Exception as error:
            result.append(type(error).__name__)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(3)  # a lock that is held is waited for without an end
    return result[0] if result else "waits"


def third_one(make, folder):
    """What the late release says, and whether a third worker then gets in beside the second."""
    with Cache(folder) as cache:
        first, second, third = (make(cache, expire) for expire in (EXPIRES, LONG, LONG))
        first.acquire()
        time.sleep(2 * EXPIRES)
        assert in_thread(second.acquire) is None
        late = first.release
        try:
            said = late()
        except Exception as error:
            said = type(error).__name__
        return said, in_thread(third.acquire)


makers = {
    "Lock": lambda cache, expire: Lock(cache, "job", expire=expire),
    "BoundedSemaphore": lambda cache, expire: BoundedSemaphore(cache, "job", expire=expire),
    "RLock": lambda cache, expire: RLock(cache, "job", expire=expire),
}
seen = {name: third_one(make, f"{sys.argv[1]}/{name}") for name, make in makers.items()}
recorded = {
    "Lock": (None, None),
    "BoundedSemaphore": (None, None),
    "RLock": ("AssertionError", "waits"),
}
for name, (said, third) in seen.items():
    how = "gets in" if third is None else third
    print(f"{name}: the late release says {said or 'nothing'}; a third worker {how}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
