"""A control plane of one test: its API server can be killed and started again."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.cluster.client import Cluster, Json
from tests.processes import die_with_parent
from tests.waiting import until

SCRIPT, KUBELET = "start-control-plane.sh", "fake_kubelet.py"
POD_READY_SECONDS, NODES = 0.1, 2
START_SECONDS = 60
STOP_SECONDS = 30
ATTEMPTS = 3  # a port that was free a moment ago may be taken by now
LOG_TAIL = 3000


class ControlPlaneError(Exception):
    """The control plane did not start; holds the ends of its logs."""


class PrivateControlPlane:
    """etcd, API server, controllers and stand-in kubelet, all dead once the test process is.

    An async context manager: started when entered, stopped when left. `scripts` is the folder of
    start-control-plane.sh and fake_kubelet.py.
    """

    def __init__(self, scripts: Path, folder: Path) -> None:
        self.kubeconfig = folder / "control-plane" / "admin.kubeconfig"
        self._scripts = scripts.absolute()
        self._folder = folder
        self._token = secrets.token_hex(24)
        self._port = _three_free_ports()
        self._script: subprocess.Popen[bytes] | None = None
        self._kubelet: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        for _ in range(ATTEMPTS - 1):
            try:
                await self.start()
                break
            except ControlPlaneError as error:
                if "address already in use" not in str(error):
                    raise
                self._port = _three_free_ports()
        else:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(self.log_tails())

    async def start(self) -> None:
        """Start it, again if it was there before: with its objects, at its address."""
        try:
            self._script = self._launch("script", self._script_command(), signal.SIGTERM)
            await self._until(self._ready().exists)
            self._kubelet = self._launch("kubelet", self._kubelet_command(), signal.SIGKILL)
            await self._has_nodes()
        except BaseException:
            self.stop()
            raise

    async def kill_api_server(self) -> None:
        """`kill -9`; returns once everything is down, which the script sees to by itself."""
        assert self._script is not None, "the control plane was not started"
        children = psutil.Process(self._script.pid).children()
        next(child for child in children if child.name() == "kube-apiserver").kill()
        script = self._script
        await until(lambda: script.poll() is not None, within_seconds=STOP_SECONDS)
        self.stop()

    def stop(self) -> None:
        """Stop its processes; its objects stay."""
        if self._kubelet is not None:
            self._kubelet.kill()
            self._kubelet.wait()
        if self._script is not None:
            _terminate(self._script)
        self._kubelet = self._script = None

    def log_tails(self) -> str:
        logs = sorted([*self._folder.glob("*.log"), *self.kubeconfig.parent.glob("*.log")])
        ends = [f"{log.name}:\n{log.read_text(errors='replace')[-LOG_TAIL:]}" for log in logs]
        return "the ends of the control plane's logs\n" + "\n".join(ends)

    # Its processes

    def _script_command(self) -> list[str]:
        return ["bash", str(self._scripts / SCRIPT), str(self.kubeconfig.parent), str(self._port)]

    def _kubelet_command(self) -> list[str]:
        options = [str(POD_READY_SECONDS), str(NODES)]
        return [sys.executable, str(self._scripts / KUBELET), str(self.kubeconfig), *options]

    def _launch(
        self, name: str, command: list[str], dies_by: signal.Signals
    ) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, "ADMIN_TOKEN": self._token, "KCM_EXTRA": _controller_options()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it in order
                preexec_fn=partial(die_with_parent, dies_by),  # noqa: PLW1509 - one system call
            )

    def _ready(self) -> Path:
        return self.kubeconfig.with_name("ready")

    async def _has_nodes(self) -> None:
        async with Cluster.connected(self.kubeconfig) as cluster:
            await cluster.until("/api/v1/nodes", _all_ready, within_seconds=START_SECONDS)

    async def _until(self, condition: Callable[[], bool]) -> None:
        script = self._script
        assert script is not None
        try:
            await until(
                lambda: script.poll() is not None or condition(), within_seconds=START_SECONDS
            )
        except TimeoutError:
            raise ControlPlaneError(self.log_tails()) from None
        if script.poll() is not None:
            raise ControlPlaneError(self.log_tails())


def _controller_options() -> str:
    # --port is gone from the releases that KUBE_BIN may name.
    port = "" if "KUBE_BIN" in os.environ else "--port=0 "
    return f"{port}--horizontal-pod-autoscaler-sync-period=1s"


def _all_ready(nodes: Json) -> bool:
    conditions = [node["status"].get("conditions", []) for node in nodes["items"]]
    ready = [one for each in conditions for one in each if one["type"] == "Ready"]
    return len(ready) == NODES and all(one["status"] == "True" for one in ready)


def _terminate(script: subprocess.Popen[bytes]) -> None:
    """Stop it by the signal on which the script stops its children in order."""
    script.terminate()
    try:
        script.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()


def _three_free_ports() -> int:
    """The first of three in a row, below the range of outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        if all(_is_free(port + offset) for offset in range(3)):
            return port


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
