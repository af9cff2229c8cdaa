#!/usr/bin/env bash
# openfeature-provider-env-var 0.1.1: a flag that is set to `false` is on.
#
# Guess: KILL_SWITCH=false is False; what is neither true nor false is an error, and the caller's own
#   default is used, as with numbers.
# Seen: every text but the empty one is True: false, 0, off, no. There is no error code, so that the
#   default doesn't count either. An integer flag `off` is a PARSE_ERROR beside it.
# Do: ask for a string, and compare it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  openfeature-provider-env-var==0.1.1 openfeature-sdk==0.10.0

"$folder/venv/bin/python" - <<'PY'
import os
import sys
from importlib.metadata import version

from openfeature import api
from openfeature.contrib.provider.envvar import EnvVarProvider

print("openfeature-provider-env-var", version("openfeature-provider-env-var"))
api.set_provider(EnvVarProvider())
client = api.get_client()
seen = {}
for text in ("true", "false", "0", "off", "no", ""):
    os.environ["KILL_SWITCH"] = text
    asked = client.get_boolean_details("KILL_SWITCH", False)
    seen[text] = (asked.value, asked.error_code)
    print(f"KILL_SWITCH={text!r} as a boolean, by default False: {asked.value}")
os.environ["KILL_SWITCH"] = "off"
number = client.get_integer_details("KILL_SWITCH", 7)
print(f"KILL_SWITCH='off' as an integer, by default 7: {number.value} ({number.error_code})")
recorded = {text: (text != "", None) for text in seen}
if seen != recorded or (number.value, number.error_code.value) != (7, "PARSE_ERROR"):
    sys.exit(f"This has changed. Recorded was: {recorded}, and 7 with PARSE_ERROR")
PY
