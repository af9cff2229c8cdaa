"""What actions that are not configured, or are not used, cost at the start of the service."""

import subprocess
import sys

import pytest

# The client of Kubernetes, and what webhook makes its requests with.
HEAVY = {"kubernetes", "jinja2", "yaml"}
LOOK = """
import sys
import keptn_remedy.service.provider
from keptn_remedy.registry import discover
before = set(sys.modules)
entries = discover({variables!r}).entries
print(sum(entry.action is not None for entry in entries))
print(*sorted(name.partition(".")[0] for name in set(sys.modules) - before))
"""
CONFIGURED = {
    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
    "KUBERNETES_SERVICE_PORT": "6443",
    "WEBHOOK_HOSTS": "hooks.example.com",
    "WAIT_LONGEST": "1h",
    "RUN_JOB_IMAGES": "alpine:*",
    "EVICT_MOST_PODS": "1",
    "DRAIN_MOST_NODES": "1",
    "RESIZE_MOST_CPU": "2",
    "RESIZE_MOST_MEMORY": "2Gi",
    "PAUSE_ROLLOUT_KINDS": "deployments",
    "ARGOCD_NAMESPACE": "argocd",
}


@pytest.mark.parametrize(
    ("variables", "least_on"), [({}, 0), (CONFIGURED, 12)], ids=["not configured", "idle"]
)
def test_actions_import_nothing_heavy_before_they_act(
    variables: dict[str, str], least_on: int
) -> None:
    code = LOOK.replace("{variables!r}", repr(variables))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    on, imported = done.stdout.splitlines()
    assert int(on) >= least_on
    assert not HEAVY & set(imported.split())
