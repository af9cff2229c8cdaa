"""Run a command beside a control plane: `python -m tests.cluster.with_control_plane FOLDER …`.

It finds the cluster in CLUSTER_KUBECONFIG, and a `kubectl` on its PATH that only fails: what comes
from PyPI has to be enough.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.cluster.control_plane import PrivateControlPlane
from tests.processes import die_with_parent

FAILING_KUBECTL = "#!/bin/sh\necho 'the tests do without an installed kubectl' >&2\nexit 97\n"


async def run(scripts: Path, command: list[str]) -> int:
    """The command's exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with PrivateControlPlane(scripts, folder) as plane:
            environment = {
                **os.environ,
                "CLUSTER_KUBECONFIG": str(plane.kubeconfig),
                "CLUSTER_CONTROL_PLANE": str(scripts),
                "PATH": f"{_without_kubectl(folder)}:{os.environ['PATH']}",
            }
            code = await _exit_code(command, environment)
            if code != 0:
                sys.stderr.write(plane.log_tails())
            return code


def _without_kubectl(folder: Path) -> Path:
    kubectl = folder / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(FAILING_KUBECTL)
    kubectl.chmod(0o755)
    return kubectl.parent


async def _exit_code(command: list[str], environment: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, preexec_fn=partial(die_with_parent, signal.SIGTERM)
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


async def _main(scripts: Path, command: list[str]) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    die_with_parent(signal.SIGTERM)
    try:
        return await run(scripts, command)
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(Path(sys.argv[1]).resolve(), sys.argv[2:])))
