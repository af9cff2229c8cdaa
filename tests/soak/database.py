"""`make prove-database`: two replicas on a PostgreSQL that is in trouble, one kind after the other.

Executions run while the trouble begins, and events come all the time. Where nothing can be stored,
events are answered with 503, `/readyz` says so, and what runs is cut off with the lease. The log
tells the trouble in one line. When it is over, all heals without a restart: each trigger has one
`started` and one `finished`.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson
import psycopg
from aiohttp import ClientError

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import eventually
from tests.end_to_end.test_replicas import Replica, assert_answered_once, deliver, until_answered
from tests.postgres_server import NOBODY, PostgresServer

LEASE_SECONDS = 5
ENOUGH_SECONDS = 60.0
UNAVAILABLE = 503
MIB = 2**20
# In MiB, where this process may mount them.
DISKS = {"data": 128, "wal": 24}
IN_OWN_NAMESPACE = "PROVE_DATABASE_UNSHARED"
FAILS = """
CREATE SEQUENCE asked;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('asked') % 3 = 0 THEN RAISE EXCEPTION 'could not serialize access'
        USING ERRCODE = '40001'; END IF;
    RETURN NEW; END $$;
CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON executions FOR EACH ROW EXECUTE FUNCTION fail();
CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON reports FOR EACH ROW EXECUTE FUNCTION fail()"""
FAILS_NO_MORE = """
DROP TRIGGER fails ON executions; DROP TRIGGER fails ON reports; DROP FUNCTION fail;
DROP SEQUENCE asked"""

FILLS_LOG = "SELECT pg_logical_emit_message(false, 'filling', repeat('-', 900000))"
THROW_OUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = %s AND pid <> ALL(%s::int[])"""

ACTION = """
import asyncio, os
from pathlib import Path
from pydantic import BaseModel
from keptn_remedy import Action, Context, Outcome

class Value(BaseModel):
    holds: bool
    filling: str = ""

class Turn(Action):
    name = "turn"
    idempotent = True
    Value = Value

    async def run(self, context: Context, value: Value) -> Outcome:
        traces = Path(os.environ["TRACES"])
        note(traces / "began", context)
        try:
            while value.holds and (traces / "held").exists():
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            note(traces / "cut-off", context)
            raise
        return Outcome.passed("turned")

def note(path, context):
    with path.open("a") as lines:
        lines.write(context.trigger.id + "\\n")
"""


class SmallDisks(PostgresServer):
    """Its tables and its log lie on disks of their own in memory, which can be filled."""

    initdb_options: tuple[str, ...] = ("--wal-segsize=1",)

    def __init__(self, **config: Any) -> None:
        super().__init__(max_wal_size="8MB", min_wal_size="2MB", **config)

    def _initialise(self) -> None:
        for name, size in DISKS.items():
            folder = self.folder / name
            folder.mkdir()
            options = f"size={size}m,uid={NOBODY},gid={NOBODY},mode=700"
            mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
            subprocess.run(mount, check=True)
        self.initdb_options += ("--waldir", str(self.folder / "wal"))
        super()._initialise()

    @asynccontextmanager
    async def filled(self, disk: str) -> AsyncIterator[None]:
        """While nothing more can be written there."""
        filler = self.folder / disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()


class Trial:
    """The replicas, and what was sent to them."""

    def __init__(
        self, keptn: FakeKeptn, replicas: Sequence[Replica], server: PostgresServer, url: str
    ) -> None:
        self.server, self.url = server, url
        self._keptn = keptn
        self._replicas = replicas
        self._traces = replicas[0].folder.parent / "traces"
        self._sent: list[str] = []
        self._deliveries: list[asyncio.Task[None]] = []
        self._numbers = iter(range(10**9))

    async def go_through(self, fault: "Fault", seconds: float) -> str:
        """Returns how the log told it.

        Raises:
            AssertionError: it was not lived through, or not told.
        """
        logged = [len(replica.log.read_text()) for replica in self._replicas]
        (self._traces / "held").touch()
        held = [self._send(holds=True) for _ in range(4)]
        await eventually(lambda: set(held) <= self._noted("began"), "the begin")
        async with fault.trouble(self):
            over = time.monotonic() + seconds
            if fault.stops_all:
                await asyncio.gather(*map(self._refuses, self._replicas))
                await eventually(
                    lambda: set(held) <= self._noted("cut-off"), "the end of the lease"
                )
            while time.monotonic() < over:
                self._send()
                await asyncio.sleep(max(0.2, seconds / 200))
            if fault.stops_all:
                await asyncio.gather(*map(self._refuses, self._replicas))
        (self._traces / "held").unlink()
        for replica in self._replicas:
            await replica.ready()
        await asyncio.gather(*self._deliveries)
        await until_answered(self._keptn, self._sent, seconds=120)
        assert_answered_once(self._keptn, self._sent)
        told = [line for line in self._told(logged) if re.search(fault.said, line)]
        assert told, f"nobody told of {fault.name}"
        return told[0]

    def events(self) -> int:
        return len(self._sent)

    def _send(self, *, holds: bool = False) -> str:
        """Tell one, and where nobody takes it, try again, as Keptn's distributor does."""
        number = next(self._numbers)
        # What can't be compressed makes tables longer.
        value = {"holds": holds, "filling": "" if holds else os.urandom(24_000).hex()}
        one = triggered("turn", value, service=f"service-{number}")
        self._sent.append(one["id"])
        to = [self._replicas[number % len(self._replicas)]]
        self._deliveries.append(asyncio.create_task(deliver(self._keptn, to, one)))
        return str(one["id"])

    async def _refuses(self, replica: Replica) -> None:
        async with asyncio.timeout(ENOUGH_SECONDS):
            while await replica.readiness() != UNAVAILABLE:  # noqa: ASYNC110  another process
                await asyncio.sleep(0.1)
            refused = triggered("turn", {"holds": False}, service="refused")
            with suppress(ClientError, TimeoutError):
                answer = await self._keptn.deliver(refused, to=replica.url)
                assert answer.status == UNAVAILABLE, answer

    def _noted(self, name: str) -> set[str]:
        path = self._traces / name
        return set(path.read_text().split()) if path.exists() else set()

    def _told(self, since: Sequence[int]) -> Iterator[str]:
        for replica, start in zip(self._replicas, since, strict=True):
            for line in replica.log.read_text()[start:].splitlines():
                with suppress(ValueError):
                    said = orjson.loads(line)
                    yield str(said.get("reason") or said.get("error") or said.get("event"))


class Fault(NamedTuple):
    """One kind of trouble. `said` is what the log tells of it; `stops_all`, that nothing can be
    stored, and no lease renewed.
    """

    name: str
    trouble: Callable[[Trial], AbstractAsyncContextManager[None]]
    said: str
    stops_all: bool = False


@asynccontextmanager
async def away(trial: Trial) -> AsyncIterator[None]:
    trial.server.stop()
    try:
        yield
    finally:
        await trial.server.start()


@asynccontextmanager
async def no_connections(trial: Trial) -> AsyncIterator[None]:
    """All are somebody else's, who takes each that becomes free."""
    taken = [psycopg.connect(trial.url, autocommit=True)]
    name = trial.url.rpartition("/")[2]

    async def take() -> None:
        while True:
            try:
                taken.append(psycopg.connect(trial.url, autocommit=True))
            except psycopg.OperationalError:  # all are in use, the replicas' too: as long as these
                ours = [connection.info.backend_pid for connection in taken]
                taken[0].execute(THROW_OUT, (name, ours))
                await asyncio.sleep(0.02)

    taking = asyncio.create_task(take())
    try:
        yield
    finally:
        taking.cancel()
        with suppress(asyncio.CancelledError):
            await taking
        for connection in taken:
            connection.close()


@asynccontextmanager
async def locked(trial: Trial) -> AsyncIterator[None]:
    with psycopg.connect(trial.url) as other:
        other.execute("ALTER TABLE executions ADD COLUMN other INT")
        yield
        other.rollback()


@asynccontextmanager
async def clashing(trial: Trial) -> AsyncIterator[None]:
    trial.server.execute(FAILS, trial.url)
    try:
        yield
    finally:
        trial.server.execute(FAILS_NO_MORE, trial.url)


def full(disk: str) -> Callable[[Trial], AbstractAsyncContextManager[None]]:
    def fill(trial: Trial) -> AbstractAsyncContextManager[None]:
        assert isinstance(trial.server, SmallDisks)
        return trial.server.filled(disk)

    return fill


@asynccontextmanager
async def log_disk_full(trial: Trial) -> AsyncIterator[None]:
    """The server gives up when it can't write its log; somebody starts it again."""
    async with full("wal")(trial):
        with suppress(psycopg.Error):
            for _ in range(DISKS["wal"]):
                trial.server.execute(FILLS_LOG, trial.url)
        yield
    if not trial.server.lives:
        trial.server.stop()
        await trial.server.start()


FAULTS = (
    Fault("away", away, "refused|terminating|closed|shutting down", stops_all=True),
    Fault("no connections", no_connections, "too many|remaining connection slots", stops_all=True),
    Fault("a table is locked", locked, "somebody holds a lock"),
    Fault("clashes", clashing, "could not serialize"),
    Fault("disk of tables full", full("data"), "the server's disk is full"),
    Fault("disk of the log full", log_disk_full, "closed|recovery|refused", stops_all=True),
)


async def prove(given: argparse.Namespace, folder: Path) -> None:
    """Raises AssertionError where something does not hold."""
    has_disks = IN_OWN_NAMESPACE in os.environ
    kind = SmallDisks if has_disks else PostgresServer
    server = kind(max_connections="20", superuser_reserved_connections="0")
    try:
        await server.start()
        url = server.create_database()
        async with FakeKeptn() as keptn, AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(_replica(folder, number, keptn, url))
                for number in range(2)
            ]
            for replica in replicas:
                (replica.folder / "actions" / "turn.py").write_text(ACTION)
                replica.launch()
            for replica in replicas:
                await replica.ready()
            trial = Trial(keptn, replicas, server, url)
            for fault in FAULTS:
                if given.only not in fault.name:
                    continue
                if "disk" in fault.name and not has_disks:
                    print(f"{fault.name}: left out, as only root mounts a small disk")
                    continue
                seconds = given.away if fault.name == "away" else given.seconds
                told = await trial.go_through(fault, seconds)
                print(f"{fault.name} for {seconds:g} s: {told}", flush=True)
            print(f"{trial.events()} triggers, each started once and finished once")
    finally:
        server.remove()


def _replica(folder: Path, number: int, keptn: FakeKeptn, url: str) -> Replica:
    own = folder / f"replica-{number}"
    own.mkdir()
    (folder / "traces").mkdir(exist_ok=True)
    settings = {"journal": url, "lease": f"{LEASE_SECONDS}s"}
    return Replica(own, keptn, {"TRACES": str(folder / "traces")}, **settings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make prove-database", description=__doc__)
    parser.add_argument("--away", type=float, default=600, help="seconds without the database")
    parser.add_argument("--seconds", type=float, default=30, help="of each other trouble")
    parser.add_argument("--only", default="", help="those whose name has this in it")
    given = parser.parse_args()
    if os.geteuid() == 0 and IN_OWN_NAMESPACE not in os.environ:  # mounts of ours are nobody else's
        again = [sys.executable, "-m", "tests.soak.database", *sys.argv[1:]]
        environment = {**os.environ, IN_OWN_NAMESPACE: "1"}
        os.execvpe("unshare", ["unshare", "--mount", "--", *again], environment)  # noqa: S606, S607
    with TemporaryDirectory(prefix="database-") as folder:
        asyncio.run(prove(given, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
