#!/usr/bin/env bash
# kopf 1.45.2, dictdiffer 0.10.0, jsondiff 2.2.1: the change of a value from 1 to true is no change.
#
# Guess: in JSON 1, 1.0 and true are different documents where a reader looks at types, such as an
#   evaluation of flags. What compares documents reports true instead of 1.
# Seen: the three compare with Python's `==`, in which True is 1 and False is 0. They report nothing:
#   an operator's update handler for the field is not called, and a sync leaves the old value.
# Do: compare the JSON texts, with sorted keys.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  kopf==1.45.2 dictdiffer==0.10.0 jsondiff==2.2.1

"$folder/venv/bin/python" - <<'PY'
import json
import sys
from importlib.metadata import version

import dictdiffer
import jsondiff
from kopf._cogs.structs import diffs

print(*(f"{name} {version(name)}" for name in ("kopf", "dictdiffer", "jsondiff")))
BEFORE = {"variants": {"on": 1, "off": 0}}
AFTER = {"variants": {"on": True, "off": False}}
OTHER = {"variants": {"on": 2, "off": 0}}

comparing = {
    "kopf": diffs.diff,
    "dictdiffer": lambda old, new: list(dictdiffer.diff(old, new)),
    "jsondiff": jsondiff.diff,
    "the texts": lambda old, new: json.dumps(old) != json.dumps(new),
}
seen = {
    name: (bool(compare(BEFORE, AFTER)), bool(compare(BEFORE, OTHER)))
    for name, compare in comparing.items()
}
for name, (types, numbers) in seen.items():
    print(f"{name}: sees true instead of 1: {types}; 2 instead of 1: {numbers}")
blind, all_seen = (False, True), (True, True)
recorded = {
    "kopf": blind,
    "dictdiffer": blind,
    "jsondiff": blind,
    "the texts": all_seen,
}
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
