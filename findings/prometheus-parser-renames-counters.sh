#!/usr/bin/env bash
# prometheus_client 0.26.0: its parser gives a counter another name than the one that was scraped.
#
# Guess: what is parsed has the names that Prometheus stores, and a proxy that parses and writes
#   metrics passes them on as they were.
# Seen: a counter without `_total` gets it. Who looks for `node_network_receive_bytes` finds nothing,
#   and after a round trip through the parser Prometheus stores a new series. No gauge is renamed.
# Do: look for both names, and pass the text on instead of writing it anew.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  prometheus_client==0.26.0

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

print("prometheus_client", version("prometheus_client"))
SCRAPED = """\
# TYPE node_network_receive_bytes counter
node_network_receive_bytes{device="eth0"} 5
# TYPE node_load gauge
node_load 1
"""


class Passing:
    """Passes on what was scraped."""

    def collect(self):
        return text_string_to_metric_families(SCRAPED)


names = [s.name for family in text_string_to_metric_families(SCRAPED) for s in family.samples]
registry = CollectorRegistry()
registry.register(Passing())
written = [line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]
print("scraped:", *(line for line in SCRAPED.splitlines() if line[0] != "#"), sep="\n  ")
print("parsed:", *names, sep="\n  ")
print("written again:", *written, sep="\n  ")
recorded = [
    ["node_network_receive_bytes_total", "node_load"],
    ['node_network_receive_bytes_total{device="eth0"} 5.0', "node_load 1.0"],
]
if [names, written] != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
