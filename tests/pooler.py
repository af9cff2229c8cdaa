"""A real PgBouncer on a free loopback port, before a PostgreSQL of the tests.

It is Debian's program, unpacked into .ci-tools by `make monitoring-tools`, or installed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.nats_server import free_port
from tests.postgres_server import ADMIN, NOBODY, PostgresServer
from tests.processes import die_with_parent

UNPACKED = Path(__file__).parent.parent / ".ci-tools/usr"
START_SECONDS = 20.0


def pooler_missing() -> str | None:
    """Why none can be started here."""
    return None if _program() else "pgbouncer missing: make monitoring-tools"


class Pooler:
    """Started by `async with`."""

    def __init__(self, server: PostgresServer, mode: Literal["transaction", "session"]) -> None:
        self._port = free_port()
        # A folder that others than root may enter: it refuses to run as root.
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir="/tmp"))
        self._config = f"""
[databases]
* = host=127.0.0.1 port={server.port} user={ADMIN}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""
        self._process: subprocess.Popen[Any] | None = None

    def url(self, database: str) -> str:
        """The URL of a database of the server, by way of this one."""
        return f"postgresql://{ADMIN}@127.0.0.1:{self._port}/{database}"

    async def __aenter__(self) -> Self:
        program = _program()
        assert program
        ours = shutil.copy(program, self._folder)
        libraries = [str(path) for path in (UNPACKED / "lib").glob("*-linux-*")]
        for path in libraries:
            shutil.copytree(path, self._folder, symlinks=True, dirs_exist_ok=True)
        (self._folder / "config.ini").write_text(self._config)
        nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._folder.chmod(0o755)
        with (self._folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(  # noqa: ASYNC220  done in a moment
                [ours, str(self._folder / "config.ini")],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"LD_LIBRARY_PATH": str(self._folder)},
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, nothing that locks
                **(nobody if os.geteuid() == 0 else {}),
            )
        async with asyncio.timeout(START_SECONDS):
            while not self._answers():
                assert process.poll() is None, (self._folder / "log").read_text()
                await asyncio.sleep(0.02)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self._port)) == 0


def _program() -> str | None:
    return shutil.which("pgbouncer", path=f"{UNPACKED / 'sbin'}:/usr/sbin:/usr/bin")
