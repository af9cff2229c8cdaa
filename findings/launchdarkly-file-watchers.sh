#!/usr/bin/env bash
# launchdarkly-server-sdk 9.20.0: a flag file that is followed is not followed, and `watchdog` chooses
# which one.
#
# Guess: `Files.new_data_source(auto_update=True)` reads a file again after each change. Whether the
#   optional package `watchdog` is there decides how soon.
# Seen: without `watchdog`, the path is resolved once, at the start. A mounted ConfigMap is a
#   symbolic link that moves to a new folder with each update: the flags stay at the first one.
#   With `watchdog`, that update is seen, because the old folder is removed. What is missed then is
#   a file that was replaced by a rename, as careful writers do. No error is told, and
#   `is_initialized` stays True.
# Do: write the file in place if `watchdog` is there; pass `force_polling=True` if it is replaced by
#   a rename. For a ConfigMap, install `watchdog`. Read a flag back after a change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  launchdarkly-server-sdk==9.20.0 watchdog==7.1.0

TMPDIR="$folder" "$folder/venv/bin/python" - <<'PY'
import io
import json
import logging
import os
import shutil
import sys
import time
from contextlib import redirect_stderr
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

from ldclient import Context
from ldclient.client import LDClient
from ldclient.config import Config
from ldclient.integrations import Files

logging.disable(logging.CRITICAL)
print("launchdarkly-server-sdk", version("launchdarkly-server-sdk"))
print("watchdog", version("watchdog"))
NAME = "flags.json"


def flags(on):
    return json.dumps({"flagValues": {"new-checkout": on}})


def mount(folder, on):
    """Publish a generation of a ConfigMap, as the kubelet does: by moving the link `..data`."""
    data, link = folder / "..data", folder / "..data_tmp"
    before = data.resolve() if data.is_symlink() else None
    generation = Path(mkdtemp(prefix="..", dir=folder))
    (generation / NAME).write_text(flags(on))
    link.symlink_to(generation.name)
    os.replace(link, data)
    if before:
        shutil.rmtree(before)
    else:
        (folder / NAME).symlink_to(f"..data/{NAME}")


def rename(folder, on):
    new = folder / "flags.new"
    new.write_text(flags(on))
    os.replace(new, folder / NAME)


def overwrite(folder, on):
    (folder / NAME).write_text(flags(on))


def follows(change, polling):
    """Whether a client sees within 5 seconds that the flag is on."""
    folder = Path(mkdtemp())
    (mount if change is mount else overwrite)(folder, False)
    source = Files.new_data_source(
        paths=[str(folder / NAME)], auto_update=True, poll_interval=0.1, force_polling=polling
    )
    client = LDClient(Config("none", update_processor_class=source, send_events=False))
    anna = Context.create("anna")
    try:
        assert client.variation("new-checkout", anna, None) is False
        change(folder, True)
        until = time.monotonic() + 5
        while time.monotonic() < until and client.is_initialized():
            if client.variation("new-checkout", anna, None):
                return True
            time.sleep(0.05)
        return False
    finally:
        client.close()


seen = {}
for polling in (True, False):
    by = "polling, as without watchdog" if polling else "watchdog"
    for change in (overwrite, rename, mount):
        with redirect_stderr(io.StringIO()):  # a file that is read half-written is a traceback
            seen[f"{by}: {change.__name__}"] = follows(change, polling)
for what, followed in seen.items():
    print(f"  {what:40} {'seen' if followed else 'not seen'}")
expected = [True, True, False, True, False, True]
sys.exit(None if list(seen.values()) == expected else "the behaviour has changed")
PY
