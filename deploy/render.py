"""Writes the plain manifests from the chart: `make manifests`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent
CHART = DEPLOY / "chart"
# What a release is called in the manifests, and the namespace whose ServiceAccount gets the rights.
NAME, NAMESPACE = "keptn-remedy", "keptn"

SERVICE = (
    "serviceaccount",
    "persistentvolumeclaim",
    "policy",
    "networkpolicy",
    "service",
    "deployment",
)
MANIFESTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "service.yaml": ("sidecar", SERVICE),
    "rbac.yaml": ("sidecar", ("rbac",)),
    "separate-distributor/service.yaml": ("separate-distributor", SERVICE),
    "separate-distributor/distributor.yaml": ("separate-distributor", ("distributor",)),
    "monitoring.yaml": ("monitoring", ("servicemonitor", "prometheusrule")),
}
"""Each manifest with the file of its values and the templates that it holds, in that order."""

HEADER = """\
# Written by `make manifests` from deploy/chart with deploy/values/{values}.yaml: change those.
{use}
"""
USES = {
    "monitoring.yaml": """\
# Not in keptn? Replace it in the expressions and the labels of the rules. Then:
# kubectl apply -f deploy/monitoring.yaml -n keptn""",
    "rbac.yaml": """\
# Replace sockshop-production; for several namespaces, repeat both objects. Not in keptn? Replace
# `namespace: keptn` under `subjects`, or the rights go to an account that isn't there. Then:
# kubectl apply -f deploy/rbac.yaml""",
}


def templates(values: Mapping[str, Any], namespace: str = NAMESPACE) -> dict[str, str]:
    """The chart with these values: each template's name and text, without the empty ones."""
    helm: Any = import_module("helm_python")  # of the group `deploy`, not of `dev`
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(dict(values), name=NAME, namespace=namespace)
    stripped = {Path(name).stem: text.strip() for name, text in rendered.items()}
    return {name: f"{text}\n" for name, text in stripped.items() if text}


def manifest(name: str) -> str:
    """The text of a plain manifest."""
    values, wanted = MANIFESTS[name]
    found = templates(yaml.safe_load((DEPLOY / f"values/{values}.yaml").read_text("utf-8")))
    use = USES.get(name, f"# kubectl apply -f deploy/{name} -n {NAMESPACE}")
    documents = [found[template].removeprefix("---\n") for template in wanted]
    return "---\n".join((HEADER.format(values=values, use=use), *documents))


if __name__ == "__main__":
    for name in MANIFESTS:
        (DEPLOY / name).write_text(manifest(name), "utf-8")
