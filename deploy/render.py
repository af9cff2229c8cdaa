"""Renders the chart into the plain manifests: `make manifests`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent
CHART = DEPLOY / "chart"
# The release's name in the manifests, and the namespace of the ServiceAccount that gets the rights.
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
    "remote-plane.yaml": ("remote-plane", SERVICE),
    "monitoring.yaml": ("monitoring", ("servicemonitor", "prometheusrule")),
}
"""Each manifest with the file of its values and the templates that it holds, in that order."""

HEADER = """\
# Written by `make manifests`: change deploy/chart or deploy/values/{values}.yaml.
{use}
"""
USES = {
    "monitoring.yaml": """\
# If you don't install in keptn, replace it in the expressions and labels of the rules. Then:
# kubectl apply -f deploy/monitoring.yaml -n keptn""",
    "remote-plane.yaml": """\
# Replace https://keptn.example/api, and store Keptn's API token in the Secret keptn-api-token
# (docs/operating.md). Cluster actions need deploy/rbac.yaml as well. Then:
# kubectl apply -f deploy/remote-plane.yaml -n keptn""",
    "rbac.yaml": """\
# Replace sockshop-production; for several namespaces, repeat both objects. If you don't install in
# keptn, replace `namespace: keptn`, or the rights go to an account that doesn't exist. Then:
# kubectl apply -f deploy/rbac.yaml""",
}


def templates(values: Mapping[str, Any], namespace: str = NAMESPACE) -> dict[str, str]:
    """Render the chart with these values: the name and text of each template that isn't empty."""
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
