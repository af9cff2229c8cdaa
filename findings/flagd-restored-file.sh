#!/usr/bin/env bash
# openfeature-provider-flagd 0.6.1, FILE mode: the backup is moved back, the flags stay changed.
#
# Guess: the provider notices that the file was replaced, and serves what it says now.
# Seen: it polls the modification time and wants a newer one. `cp -p` and `mv` bring the old time
#   back with the old content. The provider stays READY and serves the flags of the removed file,
#   until something touches the file.
# Do: undo by writing the old content into a new file and renaming that over the old one.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  openfeature-provider-flagd==0.6.1 openfeature-flagd-core==2.0.0 openfeature-sdk==0.10.0

"$folder/venv/bin/python" - "$folder" <<'PY'
import json
import logging
import os
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

logging.disable(logging.CRITICAL)
print("openfeature-provider-flagd", version("openfeature-provider-flagd"))
flags, backup = Path(sys.argv[1], "flags.json"), Path(sys.argv[1], "flags.backup")


def write(variant):
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": variant,
    }
    flags.write_text(json.dumps({"flags": {"new-checkout": flag}}))


def evaluates_to(wanted, within):
    """Whether the flag gets this value within so many seconds; the provider polls each 0.5 s."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if client.get_boolean_value("new-checkout", None) is wanted:
            return True
        time.sleep(0.1)
    return False


write("on")
shutil.copy2(flags, backup)
api.set_provider(
    FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(flags))
)
client = api.get_client()
try:
    seen = {"on at the start": evaluates_to(True, within=10)}
    time.sleep(1.1)  # so that the times differ where they are stored in whole seconds
    write("off")
    seen["off after a write"] = evaluates_to(False, within=10)
    os.replace(backup, flags)
    seen["file says"] = json.loads(flags.read_text())["flags"]["new-checkout"]["defaultVariant"]
    seen["on after the backup was moved back"] = evaluates_to(True, within=5)
    seen["status"] = client.get_provider_status().name
    os.utime(flags)
    seen["on after a touch"] = evaluates_to(True, within=10)
finally:
    api.shutdown()
recorded = {
    "on at the start": True,
    "off after a write": True,
    "file says": "on",
    "on after the backup was moved back": False,
    "status": "READY",
    "on after a touch": True,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
