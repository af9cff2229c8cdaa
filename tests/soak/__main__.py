"""`make soak`: a provider under faults at random for minutes; books, memory and files must balance.

In the first half the process is also killed and stopped. In the second half one process lives
through all other faults, so that what it leaks is seen.
"""

import argparse
import asyncio
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from tempfile import mkdtemp
from threading import Event, Thread
from typing import IO, Any
from urllib.parse import urlsplit

from aiohttp import ClientError

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess
from tests.processes import die_with_parent
from tests.soak.set_clock import SHIFT_VARIABLE, WallClock

SERVICES = 30
MOST_OPEN, SENT_AGAIN_AT_ONCE, MOST_ABORTED = 300, 20, 20
LONGEST_WORK_SECONDS = 0.1
PAUSE_SECONDS = (0.0, 0.2)
FAULT_SECONDS = (0.5, 3.0)
PEACE_SECONDS = (2.0, 6.0)
QUIET_SECONDS = 300
# After which connections that nobody uses are closed: aiohttp looks for them every 15 s.
IDLE_SECONDS = 40.0
MAY_GROW_BYTES, MAY_GROW_FILES = 16 * 2**20, 12
HOUR, DAY = 3600.0, 86_400.0


class SoakedProvider(ProviderProcess):
    """A provider with a pipe for its output, which may be left unread, and a wall clock that can be
    set.
    """

    start_seconds = 120.0  # other work may keep the machine busy

    def __init__(self, folder: Path, keptn: FakeKeptn) -> None:
        folder.mkdir()
        self.wall_clock = WallClock(folder / "shift")
        super().__init__(folder, keptn, {SHIFT_VARIABLE: str(self.wall_clock.path)})
        self.reading = Event()
        self.reading.set()

    def launch(self) -> None:
        """Start the process, with a thread that moves its output to the log."""
        assert self._process is None
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("set_clock.py"), "serve"],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
        )
        assert self._process.stdout
        Thread(target=self._move, args=(self._process.stdout,), daemon=True).start()

    def _move(self, output: IO[bytes]) -> None:
        with self.log.open("ab", buffering=0) as log:
            while chunk := output.read1(65536):  # type: ignore[attr-defined]  # it is buffered
                log.write(chunk)
                self.reading.wait()

    @property
    def resident_bytes(self) -> int:
        """What the process has in memory."""
        status = Path(f"/proc/{self._running.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def open_executions(self) -> int:
        """How many the journal holds; 0 while it is away."""
        found = self.rows("SELECT count(*) FROM executions WHERE state <> 'finished'")
        return found[0][0] if found else 0

    @property
    def open_files(self) -> Counter[str]:
        """How many of each kind, such as `socket` or a file's name."""
        kinds = Counter[str]()
        for each in Path(f"/proc/{self._running.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                kinds[each.readlink().name.partition(":")[0]] += 1
        return kinds

    def limit_files(self, size: int) -> None:
        """Refuse what would make a file longer than this, as a full disk does."""
        limit = (size, resource.RLIM_INFINITY)
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, limit)


class Soak:
    """One provider, the events that it gets, and the faults that it meets."""

    def __init__(self, keptn: FakeKeptn, provider: SoakedProvider, dice: random.Random) -> None:
        self.keptn, self.provider, self.dice = keptn, provider, dice
        self.unacknowledged: list[dict[str, Any]] = []
        self.sent = 0
        self.faults = Counter[str]()
        self._sending: set[asyncio.Task[None]] = set()

    async def send_events(self) -> None:
        """Send events until cancelled, a burst now and then, and none while too many are open."""
        while True:
            if self.provider.open_executions + len(self.unacknowledged) > MOST_OPEN:
                await asyncio.sleep(1.0)
                continue
            for _ in range(self.dice.choice((1, 1, 1, 20))):
                self._begin(self._event())
            await asyncio.sleep(self.dice.uniform(*PAUSE_SECONDS))

    def _begin(self, event: dict[str, Any]) -> None:
        task = asyncio.create_task(self._deliver(event))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _event(self) -> dict[str, Any]:
        action = self.dice.choice(("run-often", "run-often", "set-file"))
        work = {"seconds": self.dice.uniform(0, LONGEST_WORK_SECONDS)}
        return triggered(action, work, service=f"service {self.dice.randrange(SERVICES)}")

    async def _deliver(self, event: dict[str, Any]) -> None:
        self.sent += 1
        try:
            answer = await self.keptn.deliver(event, to=self.provider.url)
        except (ClientError, TimeoutError, OSError):
            self.unacknowledged.append(event)
            return
        if answer.status not in (200, 202):
            self.unacknowledged.append(event)

    async def stop_sending(self, events: asyncio.Task[None]) -> None:
        """End `send_events`, and wait for the answers to what it has sent."""
        events.cancel()
        await asyncio.gather(events, *self._sending, return_exceptions=True)

    async def balance(self) -> None:
        """Send again what was not acknowledged, until everything is done and told."""
        await self.provider.ready()
        while self.unacknowledged:
            again = self.unacknowledged[:SENT_AGAIN_AT_ONCE]
            del self.unacknowledged[:SENT_AGAIN_AT_ONCE]
            await asyncio.gather(*map(self._deliver, again))
        # A report that was lost is missed a minute later.
        for _ in range(QUIET_SECONDS):
            if self._is_balanced():
                break
            await asyncio.sleep(1.0)
        self.keptn.check()
        await asyncio.sleep(IDLE_SECONDS)

    def _is_balanced(self) -> bool:
        if not self.provider.is_quiet():
            return False
        with suppress(AssertionError):
            self.keptn.check()
            return True
        return False

    async def meet_faults(self, faults: "tuple[Fault, ...]", seconds: float) -> None:
        """One fault after the other, with peace between them."""
        until = time.monotonic() + seconds
        for fault in self._shuffled(faults):
            if time.monotonic() >= until:
                return
            print(f"{time.strftime('%H:%M:%S')} {fault.__name__}", flush=True)
            self.faults[fault.__name__] += 1
            await fault(self)
            self.keptn._faults.clear()
            await asyncio.sleep(self.dice.uniform(*PEACE_SECONDS))

    def _shuffled(self, faults: "Sequence[Fault]") -> "Iterator[Fault]":
        """All of them, in another order each time."""
        while True:
            yield from self.dice.sample(faults, len(faults))

    async def sure(self) -> None:
        """Wait until Keptn has every report, or has none of it: of one that may have arrived it is
        asked, and where it can't be asked, the report is sent again.
        """
        for _ in range(QUIET_SECONDS):
            if not self.provider.rows("SELECT 1 FROM reports WHERE doubtful AND state = 'unsent'"):
                return
            await asyncio.sleep(1.0)

    async def last(self) -> None:
        """Let a fault last for a while."""
        await asyncio.sleep(self.dice.uniform(*FAULT_SECONDS))


Fault = Callable[[Soak], Awaitable[None]]


async def killed(soak: Soak) -> None:
    soak.provider.kill()
    soak.provider.launch()
    await soak.provider.ready()


async def stopped(soak: Soak) -> None:
    soak.provider.send(SIGTERM)
    await soak.provider.exited(within=soak.provider.start_seconds)
    await soak.provider.start()


async def sidecar_refuses(soak: Soak) -> None:
    # What refuses the request has not passed it on; what waits for its end in vain may have.
    status, may_count = soak.dice.choice(
        ((401, False), (404, False), (429, False), (408, True), (500, True), (503, True))
    )
    soak.keptn.answer_next(status, times=20, counted=may_count and soak.dice.random() < 0.3)
    await soak.last()


async def sidecar_loses_reports(soak: Soak) -> None:
    soak.keptn.answer_next(200, times=5, counted=False)
    await soak.last()


async def sidecar_hangs_up(soak: Soak) -> None:
    soak.keptn.drop_next(times=20, counted=soak.dice.random() < 0.5)
    await soak.last()


async def sidecar_hangs(soak: Soak) -> None:
    soak.keptn.hold(counted=soak.dice.random() < 0.5)
    await soak.last()
    soak.keptn.release()


async def sidecar_is_away(soak: Soak) -> None:
    await soak.sure()  # its proxy to the API is away, too
    await soak.keptn.stop_listening()
    await soak.last()
    await soak.keptn.listen()


async def api_fails(soak: Soak) -> None:
    await soak.sure()
    soak.keptn.api_status = soak.dice.choice((401, 404, 500, 503))
    await soak.last()
    soak.keptn.api_status = None


async def lists_are_empty(soak: Soak) -> None:
    await soak.sure()
    soak.keptn.answer_empty_at("triggered")
    if soak.dice.random() < 0.5:
        soak.keptn.answer_empty_at("sequence-execution")
    await soak.last()
    soak.keptn.recover("triggered")
    soak.keptn.recover("sequence-execution")


async def sequences_are_aborted(soak: Soak) -> None:
    unfinished = soak.provider.rows("SELECT id FROM executions WHERE state <> 'finished'")
    for (execution,) in soak.dice.sample(unfinished, min(MOST_ABORTED, len(unfinished))):
        soak.keptn.abort(execution)
    await soak.last()


async def requests_are_half_sent(soak: Soak) -> None:
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    ends = (b"", b"Content-Length: 1000\r\n\r\n{", b"X: " + b"x" * 4000)
    writers: list[asyncio.StreamWriter] = []
    for url in (soak.provider.url, soak.provider.ops_url) * 30:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        except OSError:
            continue
        writer.write(head + soak.dice.choice(ends))
        writers.append(writer)
    await soak.last()
    for writer in writers:
        writer.close()


async def output_is_unread(soak: Soak) -> None:
    soak.provider.reading.clear()
    await soak.last()
    soak.provider.reading.set()


async def disk_is_full(soak: Soak) -> None:
    soak.provider.limit_files(0)
    await soak.last()
    soak.provider.limit_files(resource.RLIM_INFINITY)


async def journal_is_moved_away(soak: Soak) -> None:
    away = soak.provider.folder / "away.db"
    soak.provider.journal.rename(away)
    await soak.last()
    away.rename(soak.provider.journal)


async def clock_is_set(soak: Soak) -> None:
    clock = soak.provider.wall_clock
    clock.set(soak.dice.choice((-5 * HOUR, -30.0, 30.0, 2 * HOUR, 40 * DAY)))
    await soak.last()
    if soak.dice.random() < 0.7:
        clock.set(0.0)


LIVED_THROUGH: tuple[Fault, ...] = (
    sidecar_refuses,
    sidecar_loses_reports,
    sidecar_hangs_up,
    sidecar_hangs,
    sidecar_is_away,
    api_fails,
    lists_are_empty,
    sequences_are_aborted,
    requests_are_half_sent,
    output_is_unread,
    disk_is_full,
    journal_is_moved_away,
    clock_is_set,
)
ALL: tuple[Fault, ...] = (*LIVED_THROUGH, killed, stopped)


async def soak(seconds: float, seed: int, folder: Path) -> None:
    """Raises AssertionError if anything does not balance."""
    async with FakeKeptn() as keptn, SoakedProvider(folder / "provider", keptn) as provider:
        await provider.start()
        it = Soak(keptn, provider, random.Random(seed))  # noqa: S311 - no secret
        seen: list[tuple[int, int]] = []
        for faults, share in ((ALL, 0.5), *[(LIVED_THROUGH, 0.1)] * 5):
            events = asyncio.create_task(it.send_events())
            try:
                await it.meet_faults(faults, seconds * share)
            finally:
                await it.stop_sending(events)
            await it.balance()
            files = provider.open_files
            seen.append((provider.resident_bytes, files.total()))
            told = (
                f"{seen[-1][0] >> 20} MiB, {seen[-1][1]} files, {files['socket']} of them sockets"
            )
            print(f"balanced: {it.sent} events, {told}", flush=True)
        first_bytes, last_bytes = seen[1][0], seen[-1][0]
        assert last_bytes - first_bytes < MAY_GROW_BYTES, f"memory grew: {seen}"
        # Connections that rest come and go; what leaks raises the least of them.
        first_files, last_files = (min(files for _, files in half) for half in (seen[:3], seen[3:]))
        assert last_files - first_files < MAY_GROW_FILES, f"open files grew: {seen}"
        assert provider.is_intact()
        print(f"sound after {it.sent} events and {dict(it.faults)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**32))
    asked = parser.parse_args()
    folder = Path(mkdtemp(prefix="soak-"))
    print(f"seed {asked.seed}, the log is in {folder}", flush=True)
    try:
        asyncio.run(soak(asked.minutes * 60, asked.seed, folder))
    except BaseException:
        print(f"FAILED with --seed {asked.seed}; the log is in {folder}", flush=True)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
