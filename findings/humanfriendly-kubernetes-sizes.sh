#!/usr/bin/env bash
# humanfriendly 10.0: "128Mi" of Kubernetes is read as 128 million bytes, and "500m" as 500 million.
#
# Guess: `parse_size` reads "Mi" and "Gi" as it reads "MiB" and "GiB", or refuses them.
# Seen: a unit that it doesn't know is taken by its first letter, as the decimal one: 1Gi is 7 % less
#   than 1GiB, and a limit that is compared with what the container uses is reached too early. "m",
#   which Kubernetes uses for thousandths, makes mega: half a core becomes 500000000.
# Do: read quantities by `kubernetes.utils.parse_quantity`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  humanfriendly==10.0 kubernetes==37.0.2

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from humanfriendly import parse_size
from kubernetes.utils import parse_quantity

print(*(f"{name} {version(name)}" for name in ("humanfriendly", "kubernetes")))
seen = {text: parse_size(text) for text in ("128MiB", "128Mi", "1GiB", "1Gi", "500m")}
recorded = {
    "128MiB": 134217728,
    "128Mi": 128000000,
    "1GiB": 1073741824,
    "1Gi": 1000000000,
    "500m": 500000000,
}
for text, size in seen.items():
    try:
        quantity = parse_quantity(text)
    except ValueError:
        quantity = "refuses it"
    print(f"{text}: humanfriendly reads {size}; kubernetes {quantity}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
