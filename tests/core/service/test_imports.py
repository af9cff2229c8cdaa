"""What a service does not use costs it no memory."""

from __future__ import annotations

import subprocess
import sys

UNUSED = {
    "kubernetes",
    "nats",
    "opentelemetry",
    "psycopg",
    "pygments",
    "rich",
    "keptn_remedy.cli.demo",
    "keptn_remedy.ops.episode_api",
    "keptn_remedy.ops.openapi",
    "keptn_remedy.standalone.climber",
    "keptn_remedy.standalone.sources",
}


def test_a_service_beside_keptn_imports_nothing_of_other_modes() -> None:
    look = "import sys, keptn_remedy.cli.serve_command; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    imported = set(told.stdout.split())
    assert "keptn_remedy.service.provider" in imported
    assert not imported & UNUSED
