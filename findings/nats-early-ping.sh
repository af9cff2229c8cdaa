#!/usr/bin/env bash
# nats-py 2.16.0: `flush` is answered before what was published has been sent.
#
# Guess: `publish`, then `await client.flush()`: its PONG says that the server has the message.
#   `await subscription.drain()` says that nothing more will come.
# Seen: `flush` writes its PING at once, past the PUB and UNSUB that a task of the client has yet to
#   write. The server answers the PING first. A client that ends after `flush` may have sent
#   nothing, and a drained subscription drops what was still on its way.
# Do: wait until `pending_data_size` is 0 before `flush`, or write what is pending before each PING.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install nats-py==2.16.0

"$folder/venv/bin/python" - <<'PY'
import asyncio
import json
from importlib.metadata import version

from nats.aio.client import Client

print("nats-py", version("nats-py"))
INFO = {"server_id": "X", "version": "2.10.0", "max_payload": 1048576, "headers": True}
came = []


async def serve(reader, writer):
    """As much of a server as the order of commands needs."""
    writer.write(b"INFO %s\r\n" % json.dumps(INFO).encode())
    while line := await reader.readline():
        verb = line.split()[0].decode().upper()
        came.append(verb)
        if verb == "PUB":
            await reader.readexactly(int(line.split()[-1]) + 2)
        elif verb == "PING":
            writer.write(b"PONG\r\n")
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    client = Client()

    async def ignore(message):
        pass

    await client.connect(f"nats://{host}:{port}")
    subscription = await client.subscribe("events", cb=ignore)
    await client.flush()
    await asyncio.sleep(0.2)

    came.clear()
    await client.publish("reports", b"finished")
    await client.flush()
    at_flush = list(came)
    await asyncio.sleep(0.2)
    print("publish, then flush:", *came, "| when flush returned:", *at_flush)
    flushed = list(came)

    came.clear()
    await subscription.drain()
    await asyncio.sleep(0.2)
    print("drain:", *came)
    await client.close()
    server.close()
    assert flushed == ["PING", "PUB"], flushed
    assert came[:2] == ["PING", "UNSUB"], came


asyncio.run(asyncio.wait_for(main(), 20))
PY
