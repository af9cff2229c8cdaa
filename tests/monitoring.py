"""A real Prometheus and real Alertmanagers on loopback ports, which tests kill and start again.

Both are Debian's programs, unpacked into .ci-tools by `make monitoring-tools`, or installed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.nats_server import free_port
from tests.processes import die_with_parent

UNPACKED = Path(__file__).parent.parent / ".ci-tools/usr"
TEMPLATES = "/usr/share/prometheus/alertmanager"
START_SECONDS = 20.0
# Prometheus forgets what it sent before it found its Alertmanagers, which takes it 5 s; then it
# sends again after this delay. Four of them without news, and Alertmanager resolves the alert.
QUICK = (
    "--rules.alert.resend-delay=3s",
    "--rules.alert.for-grace-period=1s",
    "--query.lookback-delta=25s",
)


def program(name: str) -> Path | None:
    """Where a program of Debian's packages is: on the PATH, or unpacked."""
    found = shutil.which(name, path=f"{UNPACKED / 'bin'}:/usr/local/bin:/usr/bin:/bin")
    return Path(found) if found else None


def monitoring_missing() -> str | None:
    """Why neither can be started here."""
    missing = [name for name in ("prometheus", "prometheus-alertmanager") if program(name) is None]
    return f"{' and '.join(missing)} missing: make monitoring-tools" if missing else None


class MonitoringServer:
    """One program of the two, always on the same port, with its folder kept between starts."""

    ready_path = "/-/ready"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(config)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write its configuration, which `start` and SIGHUP read."""
        (self.folder / "config.yml").write_text(json.dumps(config))

    def command(self) -> list[str]:
        raise NotImplementedError

    async def start(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - done in a moment
                self.command(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
            )
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while True:
                assert self._process.poll() is None, self.log
                try:
                    async with session.get(self.url + self.ready_path) as answer:
                        if answer.status == 200:
                            return self
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """SIGHUP has it read its configuration, SIGSTOP freezes it."""
        assert self._process is not None
        self._process.send_signal(number)


class Alertmanager(MonitoringServer):
    """One Alertmanager, or with `peers` one of several: a name of a cluster port each."""

    def __init__(
        self,
        folder: Path,
        programs: AlertmanagerProgram,
        config: Mapping[str, Any],
        cluster_port: int | None = None,
        peer_ports: Sequence[int] = (),
    ) -> None:
        super().__init__(folder, config)
        self._program = programs
        self._cluster_port = cluster_port
        self._peer_ports = peer_ports

    def command(self) -> list[str]:
        cluster = f"127.0.0.1:{self._cluster_port}" if self._cluster_port else ""
        return [
            str(self._program.path),
            f"--config.file={self.folder}/config.yml",
            f"--storage.path={self.folder}/data",
            f"--cluster.listen-address={cluster}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *(f"--cluster.peer=127.0.0.1:{port}" for port in self._peer_ports),
        ]


class Prometheus(MonitoringServer):
    """One Prometheus, which scrapes and evaluates as its configuration says."""

    def __init__(
        self, folder: Path, config: Mapping[str, Any], options: Sequence[str] = QUICK
    ) -> None:
        super().__init__(folder, config)
        self._options = options

    def command(self) -> list[str]:
        path = program("prometheus")
        assert path is not None
        return [
            str(path),
            f"--config.file={self.folder}/config.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *self._options,
        ]


class AlertmanagerProgram:
    """Debian's Alertmanager, able to start where it was only unpacked.

    It reads two templates from a folder whose name is compiled in. This is a copy in which a folder
    of our own stands for it, padded with slashes to the same length.
    """

    def __init__(self) -> None:
        source = program("prometheus-alertmanager")
        assert source is not None
        self._folder = Path(tempfile.mkdtemp(prefix="am-", dir="/tmp"))
        self.path = self._folder / "alertmanager"
        if Path(TEMPLATES, "default.tmpl").exists():
            shutil.copy(source, self.path)
            return
        folder = str(self._folder)
        assert len(folder) <= len(TEMPLATES), folder
        padded = folder.ljust(len(TEMPLATES), "/")
        self.path.write_bytes(source.read_bytes().replace(TEMPLATES.encode(), padded.encode()))
        self.path.chmod(0o700)
        for name in ("default.tmpl", "email.tmpl"):
            shutil.copy(UNPACKED / "share/prometheus/alertmanager" / name, self._folder)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def webhook_config(url: str, secret: str = "", **route: Any) -> dict[str, Any]:
    """An Alertmanager's configuration that passes each alert on to one webhook, alone, at once."""
    http: dict[str, Any] = {"follow_redirects": False}
    if secret:
        http["authorization"] = {"credentials": secret}
    return {
        "route": {
            "receiver": "remedy",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "2s",
            "repeat_interval": "1h",
            **route,
        },
        "receivers": [
            {
                "name": "remedy",
                "webhook_configs": [{"url": url, "send_resolved": True, "http_config": http}],
            }
        ],
    }
