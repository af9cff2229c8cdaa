"""`make prove-replicas`: three replicas on a PostgreSQL that fails over, under faults for minutes.

Replicas are killed all the time, one is stopped, one is cut off from the database; the server is
restarted twice, killed once, and at last its synchronous standby takes its place. Then each trigger
has one `started` and one `finished`, no two executions acted on one target at once, and no change
was applied twice.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.test_replicas import (
    ACTION,
    POLICY,
    Replica,
    assert_answered_once,
    deliver,
    overlaps,
    until_answered,
)
from tests.postgres_server import ADMIN, PostgresServer

LANES, TARGETS = 40, 12
STOPPED_SECONDS, CUT_OFF_SECONDS = 30.0, 10.0
MOST_UNDER_WAY = 60
HTTP_OK = 200
# What has been applied is not applied again: whoever takes an execution over looks first.
READS_BACK = ACTION.replace(
    "        began = time.monotonic()\n",
    """\
        path = Path(os.environ["TRACES"]) / plan.changes[0].target
        if path.exists() and f" {context.trigger.id}\\n" in path.read_text():
            return
        began = time.monotonic()
""",
)


class Standby(PostgresServer):
    """A copy of another server that follows it, until it is promoted."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary_port = primary.port
        super().__init__()

    def _initialise(self) -> None:
        primary = ["-h", "127.0.0.1", "-p", str(self._primary_port), "-U", ADMIN]
        data = str(self.folder / "data")
        self._as_its_user("pg_basebackup", *primary, "-D", data, "-R", "-c", "fast")


class Proven(Replica):
    """A replica that is started again whenever it has ended, as in a cluster."""

    async def ready(self) -> None:
        async with asyncio.timeout(self.start_seconds * 2):
            while await self.readiness() != HTTP_OK:
                self.revive()
                await asyncio.sleep(0.1)

    def revive(self) -> None:
        """Start it if it has ended: it does where the database is away while it starts."""
        if self._running.poll() is not None:
            self.kill()
            self.launch()


class Relay:
    """A way to a port that may be cut off: then nothing passes, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def begin(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self) -> None:
        self._server.close()
        for pump in [*self._pumps]:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        self._is_open.clear()

    def mend(self) -> None:
        self._is_open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, back), (there, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._is_open.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


class Proof:
    """One run."""

    def __init__(
        self,
        keptn: FakeKeptn,
        replicas: Sequence[Proven],
        servers: tuple[PostgresServer, PostgresServer],
        relays: Sequence[Relay],
        given: argparse.Namespace,
        dice: random.Random,
    ) -> None:
        self.sent: list[str] = []
        self.told: Counter[str] = Counter()
        self._keptn = keptn
        self._replicas = replicas
        self._primary, self._standby = servers
        self._relays = relays
        self._given = given
        self._dice = dice
        self._until = time.monotonic() + given.seconds
        self._events: int = given.events
        self._stopped: set[Proven] = set()
        self._deliveries: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        seconds = self._given.seconds
        await asyncio.gather(
            self._send(),
            self._kill(),
            self._later(seconds * 0.10, self._stop_one),
            self._later(seconds * 0.25, self._cut_one_off),
            self._later(seconds * 0.40, lambda: self._restart(signal.SIGINT)),
            self._later(seconds * 0.50, lambda: self._restart(signal.SIGINT)),
            self._later(seconds * 0.60, lambda: self._restart(signal.SIGKILL)),
            self._later(seconds * 0.75, self._fail_over),
        )
        for replica in self._replicas:
            await replica.ready()
        await asyncio.gather(*self._deliveries)
        await until_answered(self._keptn, self.sent, seconds=300)

    def _is_over(self) -> bool:
        return bool(time.monotonic() > self._until) and len(self.sent) >= self._events

    async def _send(self) -> None:
        pause = self._given.seconds / self._given.events
        while len(self.sent) < self._events:
            while len(self._deliveries) >= MOST_UNDER_WAY:
                await asyncio.wait(self._deliveries, return_when=asyncio.FIRST_COMPLETED)
            one = self._event()
            self.sent.append(one["id"])
            often = self._dice.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 3))
            self.told["deliveries"] += often
            to = self._dice.sample(self._replicas, often)
            task = asyncio.create_task(self._deliver(to, one))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
            await asyncio.sleep(self._dice.uniform(0, 2 * pause))

    def _event(self) -> dict[str, Any]:
        value = {"target": f"target-{self._dice.randrange(TARGETS)}"}
        return triggered("turn", value, service=f"service-{self._dice.randrange(LANES)}")

    async def _deliver(self, to: Sequence[Proven], one: dict[str, Any]) -> None:
        """What one of them refuses for long is sent to another one: it may be stopped."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(20):
                    return await deliver(self._keptn, to, one)
            to = self._dice.sample(self._replicas, 1)

    async def _kill(self) -> None:
        while not self._is_over():
            await asyncio.sleep(self._given.kill_every)
            up = [each for each in self._replicas if each not in self._stopped]
            victim = self._dice.choice(up)
            if await victim.readiness() is None:
                victim.revive()
                continue  # it starts: nothing would be learnt
            victim.kill()
            victim.launch()
            self.told["kills"] += 1

    async def _later(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await do()

    async def _stop_one(self) -> None:
        victim = self._replicas[0]
        async with self._spared(victim):
            victim.send(signal.SIGSTOP)
            await asyncio.sleep(min(STOPPED_SECONDS, self._given.seconds / 10))
            victim.send(signal.SIGCONT)
        self.told["stopped"] += 1

    async def _cut_one_off(self) -> None:
        victim = self._replicas[-1]
        async with self._spared(victim):
            for relay in self._relays:
                relay.cut()
            await asyncio.sleep(min(CUT_OFF_SECONDS, self._given.seconds / 10))
            for relay in self._relays:
                relay.mend()
        self.told["cut off"] += 1

    @asynccontextmanager
    async def _spared(self, victim: Proven) -> AsyncIterator[None]:
        """While neither it is killed, nor one that takes over what it has: whoever has just started
        ends nobody's lease yet.
        """
        spared = {victim, self._replicas[1]}
        self._stopped |= spared
        for replica in spared:
            await replica.ready()
        yield
        self._stopped -= spared

    async def _restart(self, number: signal.Signals) -> None:
        self._primary.stop(number)
        await asyncio.sleep(1)
        await self._primary.start()
        self.told["server killed" if number == signal.SIGKILL else "server restarted"] += 1

    async def _fail_over(self) -> None:
        self._primary.stop(signal.SIGKILL)
        self._standby.execute("SELECT pg_promote()")
        self.told["failed over"] += 1


async def prove(given: argparse.Namespace, folder: Path) -> int:
    dice = random.Random(given.seed)  # noqa: S311  no secret
    primary = PostgresServer(max_wal_senders="4", wal_level="replica")
    await primary.start()
    standby = Standby(primary)
    try:
        await standby.start()
        url = primary.create_database()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        return await _prove(given, folder, dice, (primary, standby), url.rpartition("/")[2])
    finally:
        standby.remove()
        primary.remove()


async def _prove(
    given: argparse.Namespace,
    folder: Path,
    dice: random.Random,
    servers: tuple[PostgresServer, PostgresServer],
    database: str,
) -> int:
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "traces").mkdir()
    relays = [Relay(server.port) for server in servers]
    async with FakeKeptn() as keptn, AsyncExitStack() as stack:
        cut_off = [await relay.begin() for relay in relays]
        for relay in relays:
            stack.push_async_callback(relay.end)
        replicas: list[Proven] = []
        for number in range(3):
            ports = cut_off if number == 2 else [server.port for server in servers]
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            replica = Proven(
                folder / f"replica-{number}",
                keptn,
                {"TRACES": str(folder / "traces")},
                journal=f"postgresql://{ADMIN}@{hosts}/{database}",
                policy=folder / "policy.yaml",
                drain_seconds=5,
            )
            replica.folder.mkdir()
            replicas.append(await stack.enter_async_context(replica))
            (replica.folder / "actions" / "turn.py").write_text(READS_BACK)
        for replica in replicas:
            replica.launch()
        for replica in replicas:
            await replica.ready()
        proof = Proof(keptn, replicas, servers, relays, given, dice)
        await proof.run()
        return _judge(proof, keptn, folder, replicas, given.seed)


def _judge(
    proof: Proof, keptn: FakeKeptn, folder: Path, replicas: Sequence[Proven], seed: int
) -> int:
    assert_answered_once(keptn, proof.sent)
    found = list(overlaps(folder / "traces"))
    lines = [
        line.split()[3]
        for path in (folder / "traces").iterdir()
        for line in path.read_text().splitlines()
    ]
    twice = [trigger for trigger, often in Counter(lines).items() if often > 1]
    lost = sum(replica.log.read_text().count("the lease was lost") for replica in replicas)
    say = print
    say(f"{len(proof.sent)} triggers, each started once and finished once (seed {seed})")
    say(", ".join(f"{what}: {often}" for what, often in sorted(proof.told.items())))
    say(f"leases lost and replaced: {lost}")
    say(f"at once on one target: {len(found)}; applied twice: {len(twice)}")
    for each in [*found, *twice][:20]:
        say(f"  {each}")
    return 1 if found or twice else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make prove-replicas", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--kill-every", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**32))
    given = parser.parse_args()
    with TemporaryDirectory(prefix="replicas-") as folder:
        return asyncio.run(prove(given, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
