"""A journal that can't be written: nothing is lost, nobody is lied to, and it heals by itself."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy.events import LOG_ERROR
from keptn_remedy.testing import FakeKeptn, triggered
from tests.commands import remedy
from tests.core.journals import damage
from tests.end_to_end.provider_process import REMEDY, ProviderProcess
from tests.waiting import until

PROBLEM = "application/problem+json"
# Runs a command that may not write a byte to any file.
_FILL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
os.execv(sys.argv[1], sys.argv[1:])
"""
ON_A_FULL_DISK = (sys.executable, "-c", _FILL)
# Root may write what is read-only, unless this capability is taken away.
_OVERRIDES = "-dac_override,-dac_read_search,-fowner"
LIKE_ANYONE = (
    ("setpriv", f"--bounding-set={_OVERRIDES}", f"--inh-caps={_OVERRIDES}")
    if os.geteuid() == 0
    else ()
)


class Provider(ProviderProcess):
    """A provider whose disk can be full, or read-only."""

    def launch(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*LIKE_ANYONE, str(REMEDY), "serve"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The kernel refuses every byte that the process writes to a file, its log included."""
        self._allow_bytes(0)
        try:
            yield
        finally:
            if self._process is not None:
                self._allow_bytes(resource.RLIM_INFINITY)

    def _allow_bytes(self, number: int) -> None:
        limit = (number, resource.RLIM_INFINITY)
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, limit)

    @contextmanager
    def read_only_volume(self) -> Iterator[None]:
        """Neither the journal's folder nor its files can be written, once they are opened anew."""
        with _modes([self.folder, *self.folder.glob("journal.db*")], 0o500):
            yield

    async def post(self, event: dict[str, Any]) -> tuple[int, Any, Any]:
        """Status, headers and JSON of the answer."""
        headers = {"Content-Type": "application/cloudevents+json"}
        body = orjson.dumps(event)
        async with self._session.post(self.url, data=body, headers=headers) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    async def metrics(self) -> str:
        async with self._session.get(f"{self.ops_url}metrics") as answer:
            return await answer.text()

    async def not_ready_because(self) -> list[str]:
        """The reasons in a 503 of `/readyz`."""
        async with self._session.get(f"{self.ops_url}readyz") as answer:
            assert answer.status == 503
            return list((await answer.json())["reasons"])

    @property
    def lives(self) -> bool:
        return self._running.poll() is None


@contextmanager
def _modes(paths: list[Path], mode: int) -> Iterator[None]:
    before = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(mode)
    try:
        yield
    finally:
        for path, old in before.items():
            if path.exists():  # SQLite may have removed its own
                path.chmod(old)


def nothing_is_read_only() -> str | None:
    """Why permissions can't be tried here; None where they can."""
    if not LIKE_ANYONE:
        return None
    if shutil.which(LIKE_ANYONE[0]) is None:
        return "root writes what is read-only, and there is no setpriv (Debian: util-linux)"
    tried = subprocess.run([*LIKE_ANYONE, "true"], capture_output=True, check=False)
    return f"root writes what is read-only: {tried.stderr!r}" if tried.returncode else None


needs_permissions = pytest.mark.skipif(
    nothing_is_read_only() is not None, reason=nothing_is_read_only() or ""
)
pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="only Linux limits a running process"
)


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as fake:
        yield fake


@pytest.fixture
async def provider(tmp_path: Path, keptn: FakeKeptn) -> AsyncIterator[Provider]:
    async with Provider(tmp_path / "provider", keptn) as process:
        await process.start()
        yield process


async def is_unavailable(provider: Provider) -> None:
    """An event is refused so that Keptn's distributor sends it again."""
    status, headers, problem = await provider.post(triggered("run-often", service="unlucky"))
    assert (status, headers["Content-Type"]) == (503, PROBLEM)
    assert int(headers["Retry-After"]) > 0
    assert problem["title"] == "the journal can't be written"


async def told_by_readiness(provider: Provider, reason: str) -> None:
    async def is_told() -> bool:
        if await provider.readiness() != 503:
            return False
        return any(reason in found for found in await provider.not_ready_because())

    await until(is_told)


async def running(provider: Provider, keptn: FakeKeptn, action: str, count: int = 1) -> list[str]:
    """Executions for services of their own, begun and held at the gate `shut`."""
    provider.shut("shut")
    ids = []
    for number in range(count):
        event = triggered(action, {"gate": "shut"}, service=f"{action} {number}")
        await keptn.deliver(event, to=provider.url)
        ids.append(event["id"])
    for execution in ids:
        await provider.runs(execution)
    return ids


async def waiting(provider: Provider, keptn: FakeKeptn, service: str) -> str:
    """An execution that waits for its turn behind another of that service."""
    event = triggered("run-often", service=service)
    assert (await keptn.deliver(event, to=provider.url)).status == 202
    return str(event["id"])


def failures_told(keptn: FakeKeptn) -> list[str]:
    """The messages of each log.error that belongs to no trigger."""
    told = [event for event in keptn.received if event.type == LOG_ERROR and not event.triggeredid]
    return [event.data["message"] for event in told]


async def test_events_are_turned_away_while_the_disk_is_full(provider: Provider) -> None:
    with provider.full_disk():
        for _ in range(20):
            await is_unavailable(provider)
        assert provider.lives
        assert provider.rows("SELECT * FROM executions") == []


async def test_a_full_disk_is_told_by_readiness_and_heals_without_traffic(
    provider: Provider, keptn: FakeKeptn
) -> None:
    with provider.full_disk():
        await is_unavailable(provider)
        (reason,) = await provider.not_ready_because()
        assert reason.startswith("the journal can't be written: ")
    await provider.ready()
    await keptn.wait_until(lambda: len(failures_told(keptn)) == 1)
    assert failures_told(keptn)[0].startswith("the journal failed: ")


async def test_an_event_that_was_turned_away_is_taken_when_it_comes_again(
    provider: Provider, keptn: FakeKeptn
) -> None:
    event = triggered("run-often")
    with provider.full_disk():
        assert (await keptn.deliver(event, to=provider.url)).status == 503
    await provider.ready()
    assert (await keptn.deliver(event, to=provider.url)).status == 202
    await keptn.task_finished(event["id"])
    await provider.quiet()


@pytest.mark.parametrize("action", ["run-often", "run-once", "set-file"])
async def test_executions_that_end_on_a_full_disk_are_told_once_it_heals(
    provider: Provider, keptn: FakeKeptn, action: str
) -> None:
    ids = await running(provider, keptn, action, count=5)
    behind = [await waiting(provider, keptn, f"{action} {number}") for number in range(5)]
    if action == "set-file":
        # Its effect is a file, which would be refused as well: it may go on only when that heals.
        with provider.full_disk():
            await is_unavailable(provider)
        provider.open("shut")
    else:
        with provider.full_disk():
            await is_unavailable(provider)
            provider.open("shut")
            await keptn.wait_until(lambda: len(keptn.received) == len(ids))  # the started ones
            assert await provider.not_ready_because()
            assert provider.lives
    for execution in (*ids, *behind):
        await keptn.task_finished(execution, timeout=20)
    await provider.quiet()
    assert {
        execution: len(provider.traces("ran", execution)) for execution in ids
    } == dict.fromkeys(ids, 1)


async def test_a_report_that_arrived_while_the_disk_was_full_is_not_sent_again(
    provider: Provider, keptn: FakeKeptn
) -> None:
    keptn.hold()
    (execution,) = await running(provider, keptn, "run-often")
    await keptn.wait_until(lambda: len(keptn.started(execution)) == 1)
    with provider.full_disk():
        await is_unavailable(provider)
        keptn.release()
        await is_unavailable(provider)
    await provider.ready()
    provider.open("shut")
    await keptn.task_finished(execution)
    await provider.quiet()
    assert len(keptn.started(execution)) == 1


async def test_killed_on_a_full_disk_it_goes_on_from_where_it_was(
    provider: Provider, keptn: FakeKeptn
) -> None:
    (execution,) = await running(provider, keptn, "set-file")
    with provider.full_disk():
        await is_unavailable(provider)
        provider.kill()
        provider.launch()
    provider.open("shut")
    await provider.ready()
    assert provider.is_intact()
    await keptn.task_finished(execution, timeout=20)
    await provider.quiet()


async def test_it_leaves_in_time_though_the_disk_is_full(tmp_path: Path, keptn: FakeKeptn) -> None:
    async with Provider(tmp_path / "provider", keptn, drain_seconds=2) as provider:
        await provider.start()
        (execution,) = await running(provider, keptn, "run-often")
        with provider.full_disk():
            await is_unavailable(provider)
            provider.open("shut")
            left = await provider.stop()
        assert left.seconds < 4
        await provider.start()
        await keptn.task_finished(execution, timeout=20)
        await provider.quiet()


@needs_permissions
async def test_a_journal_that_became_read_only_is_told_and_heals(
    provider: Provider, keptn: FakeKeptn
) -> None:
    (execution,) = await running(provider, keptn, "run-often")
    with provider.read_only_volume():
        with provider.full_disk():
            await is_unavailable(provider)  # what is open stays writable: it must be opened anew
        provider.open("shut")
        await is_unavailable(provider)
        (reason,) = await provider.not_ready_because()
        assert "readonly" in reason
        assert provider.lives
    await provider.ready()
    await keptn.task_finished(execution)
    await keptn.wait_until(lambda: len(failures_told(keptn)) == 1)
    await provider.quiet()


# No longer the same file


@pytest.mark.parametrize("lose", ["delete", "replace"])
async def test_a_journal_that_was_deleted_or_replaced_stops_the_service_until_it_is_back(
    provider: Provider, keptn: FakeKeptn, lose: str
) -> None:
    (execution,) = await running(provider, keptn, "run-often")
    behind = await waiting(provider, keptn, "run-often 0")
    away = provider.folder / "away.db"
    provider.journal.rename(away)
    if lose == "replace":
        shutil.copyfile(away, provider.journal)
    provider.open("shut")
    await told_by_readiness(provider, f"{provider.journal} was deleted or replaced")
    await is_unavailable(provider)
    await until(lambda: "the journal failed" in provider.log_tail())
    assert "remedy_journal_failed 1.0" in await provider.metrics()
    said = await asyncio.to_thread(
        remedy,
        provider.folder,
        *("pause", "--reason", "x"),
        REMEDY_JOURNAL=str(provider.journal),
    )
    assert (said.code, said.out) == (1, "")
    assert ("restart the service" if lose == "replace" else "there is no journal") in said.err
    assert provider.traces("ran", behind) == []
    away.rename(provider.journal)
    await provider.ready()
    for told in (execution, behind):
        await keptn.task_finished(told, timeout=20)
    await provider.quiet()


async def test_a_damaged_index_is_told_by_readiness_before_an_event_meets_it(
    provider: Provider,
) -> None:
    await provider.stop()
    damage(provider.journal, "sqlite_autoindex_executions_1")
    provider.launch()
    await provider.answers()
    await told_by_readiness(provider, f"{provider.journal} is damaged")
    await is_unavailable(provider)
    await provider.not_ready_because()


# At the start


def start_up(*command: str, journal: Path) -> subprocess.CompletedProcess[str]:
    """What `remedy serve` says when it can't serve."""
    env = {
        "PATH": os.defpath,
        "REMEDY_JOURNAL": str(journal),
        "REMEDY_PORT": "0",
        "REMEDY_OPS_PORT": "0",
    }
    return subprocess.run(
        [*command, str(REMEDY), "serve"],
        env=env,
        cwd=journal.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def said_in_one_line(ended: subprocess.CompletedProcess[str], journal: Path) -> None:
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"remedy: can't open the journal {journal}: ")


@needs_permissions
def test_a_folder_that_it_may_not_write_is_told_in_one_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with _modes([tmp_path], 0o500):
        said_in_one_line(start_up(*LIKE_ANYONE, journal=journal), journal)


@needs_permissions
def test_a_file_that_it_may_not_write_is_told_in_one_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.touch(0o400)
    said_in_one_line(start_up(*LIKE_ANYONE, journal=journal), journal)


def test_a_disk_that_is_full_from_the_start_is_told_in_one_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    said_in_one_line(start_up(*ON_A_FULL_DISK, journal=journal), journal)


def test_what_is_no_journal_is_told_in_one_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.write_text("a letter to somebody " * 100)
    said_in_one_line(start_up(journal=journal), journal)


def test_a_folder_in_its_place_is_told_in_one_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.mkdir()
    said_in_one_line(start_up(journal=journal), journal)
