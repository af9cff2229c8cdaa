"""The hook that holds the distributor back until the provider takes events."""

import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.commands import local_provider
from tests.deploy.charts import needs_helm, provider

pytestmark = needs_helm

SECONDS = 30


def hook(port: int, seconds: int) -> list[str]:
    """The hook's command, for another port."""
    python, flag, code, *_ = provider({})["lifecycle"]["postStart"]["exec"]["command"]
    assert (python, flag) == ("python", "-c")
    return [sys.executable, flag, code, str(port), str(seconds)]


def run(port: int, seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        hook(port, seconds), capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )


def test_it_waits_until_the_event_port_accepts_connections() -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))  # bound, but not listening: connections are refused
        number = port.getsockname()[1]
        with subprocess.Popen(hook(number, SECONDS)) as waiting:
            assert run(number, 0).returncode == 1
            assert waiting.poll() is None
            port.listen()
            assert waiting.wait(SECONDS) == 0


def test_it_tells_why_when_the_port_stays_closed() -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        done = run(port.getsockname()[1], 0)
    assert done.returncode == 1
    assert "nothing listens on port" in done.stderr


def test_it_leaves_no_trace_at_the_provider(tmp_path: Path) -> None:
    with local_provider(tmp_path) as running:
        assert run(urlsplit(running.events).port or 0, SECONDS).returncode == 0
        said = running.stop()
    assert (said.code, said.err) == (0, "")
    assert "not a CloudEvent" not in said.out
