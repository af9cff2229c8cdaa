#!/usr/bin/env bash
# openfeature-provider-flagd 0.6.1, FILE mode: a note in one flag keeps every flag as it was.
#
# Guess: a key that the provider does not know, such as a description, is skipped; at worst its own
#   flag is.
# Seen: each flag is made from all keys of its definition. One key more, and the whole file is
#   refused: no flag changes any more, and callers get the values from before without an error. An
#   application that starts then has no flag at all.
# Do: put notes under `metadata`, or into the document beside `flags`; read a value back through a
#   provider after a write.
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
import sys
import time
from importlib.metadata import version
from pathlib import Path

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

logging.disable(logging.CRITICAL)
print("openfeature-provider-flagd", version("openfeature-provider-flagd"))
flags = Path(sys.argv[1], "flags.json")
ticks = 0


def write(variant, note):
    """The flag with that default, beside another one with a note."""
    global ticks
    ticks += 10
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}}
    other = {**flag, "defaultVariant": "on", **note}
    new = {"new-checkout": {**flag, "defaultVariant": variant}, "other": other}
    beside = flags.with_suffix(".new")
    beside.write_text(json.dumps({"flags": new}))
    os.utime(beside, (time.time() + ticks, time.time() + ticks))
    beside.replace(flags)


def evaluates_to(wanted, within):
    """Whether the flag gets this value within so many seconds; the provider polls each 0.5 s."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if client.get_boolean_value("new-checkout", None) is wanted:
            return True
        time.sleep(0.1)
    return False


write("on", note={"metadata": {"note": "for the sale"}})
api.set_provider(
    FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(flags))
)
client = api.get_client()
try:
    seen = {"on, the other flag with metadata": evaluates_to(True, within=10)}
    write("off", note={"description": "for the sale"})
    seen["off, the other flag with a description"] = evaluates_to(False, within=5)
    details = client.get_boolean_details("new-checkout", None)
    seen["what callers get"] = details.value, details.error_code
    write("off", note={})
    seen["off, the other flag without it"] = evaluates_to(False, within=10)
finally:
    api.shutdown()
recorded = {
    "on, the other flag with metadata": True,
    "off, the other flag with a description": False,
    "what callers get": (True, None),
    "off, the other flag without it": True,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
