"""`remedy doctor` with one thing broken at a time: one line says what, and what to do."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.js.api import StreamConfig

from keptn_remedy.cli.doctor import own
from keptn_remedy.events import TRIGGERED
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.testing import HttpPeer, http_peer
from tests.commands import remedy
from tests.nats_server import NatsServer
from tests.ordering import JOURNAL, say
from tests.postgres_server import PostgresServer

SECRET = "s3cr3t-of-doctor"
NOTHING_OPEN = {"events": None, "totalCount": 0}


async def told(folder: Path, **variables: str) -> dict[str, dict[str, Any]]:
    """The line of each thing looked at; the last one counts. What is wrong has a way out."""
    given = {"REMEDY_TRANSPORT": "local", **variables}
    said = await say(folder, "doctor", "--json", **given)
    assert said.err == ""
    assert SECRET not in said.out
    found = [json.loads(line) for line in said.out.splitlines()]
    wrong = [each for each in found if each["is_good"] is False]
    assert all(each["to_do"] and "\n" not in each["message"] for each in wrong), wrong
    assert said.code == (1 if wrong else 0)
    return {each["about"]: each for each in found}


def is_wrong(line: dict[str, Any], words: str) -> None:
    assert line["is_good"] is False, line
    assert words in line["message"], line


# The journal in a file


@pytest.fixture
async def stored(tmp_path: Path) -> Path:
    await SqliteJournal.open(tmp_path / JOURNAL).close()
    return tmp_path / JOURNAL


async def test_a_journal_on_a_read_only_mount(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    is_wrong((await told(stored.parent))["journal"], "can't be written")


async def test_a_journal_on_a_full_disk(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "FREE_BYTES", 2**80)
    line = (await told(stored.parent))["journal"]
    is_wrong(line, "are left on the disk of journal.db")
    assert line["to_do"].startswith("make room")


@pytest.mark.parametrize("step", [1, -1])
async def test_a_journal_of_another_release(stored: Path, step: int) -> None:
    with closing(sqlite3.connect(stored)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + step}")
    is_wrong((await told(stored.parent))["journal"], f"the journal has version {version + step}")


def cut(journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size // 4)


def replaced_by_a_folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


@pytest.mark.parametrize(
    ("broken", "words"), [(cut, "malformed"), (replaced_by_a_folder, "there is no journal at")]
)
async def test_a_journal_that_is_cut_or_a_folder(
    stored: Path, broken: Callable[[Path], None], words: str
) -> None:
    broken(stored)
    is_wrong((await told(stored.parent))["journal"], words)


# The journal on PostgreSQL


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


async def test_a_database_that_is_away(tmp_path: Path) -> None:
    address = f"postgresql://ada:{SECRET}@127.0.0.1:1/remedy"
    is_wrong((await told(tmp_path, REMEDY_JOURNAL=address))["journal"], "refused")


async def test_a_database_that_does_not_answer(tmp_path: Path, silent: int) -> None:
    address = f"postgresql://ada:{SECRET}@127.0.0.1:{silent}/remedy"
    found = await told(tmp_path, REMEDY_JOURNAL=address)
    is_wrong(found["journal"], "timeout")
    assert found["clock"]["is_good"]  # the other checks go on


async def test_a_database_without_a_journal(tmp_path: Path, database: str) -> None:
    is_wrong((await told(tmp_path, REMEDY_JOURNAL=database))["journal"], "no journal")


# Keptn


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as made:
        yield made


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {}, "answered 401"),
        (403, {}, "answered 403"),
        (404, {}, "no answer of Keptn's"),
        (500, {}, "no answer of Keptn's"),
        (200, {"hello": 1}, "no answer of Keptn's"),
        (200, [], "no answer of Keptn's"),
        (302, {}, "answered 302"),
    ],
)
@pytest.mark.parametrize("transport", ["distributor", "polling"])
async def test_what_is_no_keptn_is_not_taken_for_one(
    tmp_path: Path, peer: HttpPeer, transport: str, status: int, body: Any, words: str
) -> None:
    peer.answer(status, json=body, times=None)
    found = await told(
        tmp_path,
        REMEDY_TRANSPORT=transport,
        REMEDY_KEPTN_API=peer.url,
        KEPTN_API_TOKEN=SECRET,
    )
    about = "sidecar" if transport == "distributor" else "keptn's API"
    is_wrong(found[about], words)
    assert found["keptn"]["is_good"] is None


@pytest.mark.parametrize(
    ("version", "is_good"),
    [("1.4.5", True), ("0.18.0", True), ("0.17.2", None), ("v0.13.4", None), ("develop", True)],
)
async def test_an_old_keptn_is_told_by_what_it_can_not_do(
    tmp_path: Path, peer: HttpPeer, version: str, is_good: bool | None
) -> None:
    peer.answer(json=NOTHING_OPEN)
    peer.answer(json={"keptnversion": version})
    found = await told(
        tmp_path, REMEDY_TRANSPORT="polling", REMEDY_KEPTN_API=peer.url, KEPTN_API_TOKEN=SECRET
    )
    assert found["keptn"]["is_good"] is is_good
    assert version in found["keptn"]["message"]
    assert ("sent again" in found["keptn"]["to_do"]) is (is_good is None)


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    await server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("subjects", "is_good"),
    [
        (["sh.keptn.>"], True),
        (["sh.keptn.event.*.triggered"], True),
        ([TRIGGERED], True),
        (["sh.keptn.event.*.finished"], False),
        (["sh.keptn.event.*"], False),
        (["other.>"], False),
    ],
)
async def test_a_stream_that_holds_other_subjects(
    tmp_path: Path, nats: NatsServer, subjects: Sequence[str], is_good: bool
) -> None:
    async with nats.client() as client:
        await client.jetstream().add_stream(StreamConfig(name="keptn", subjects=[*subjects]))
        found = await told(
            tmp_path,
            REMEDY_TRANSPORT="nats",
            PUBSUB_URL=nats.url,
            REMEDY_NATS_STREAM="keptn",
            REMEDY_KEPTN_API="http://127.0.0.1:1/api",
        )
    assert found["nats"]["is_good"] is is_good
    if not is_good:
        is_wrong(found["nats"], f"holds {subjects[0]}, and no {TRIGGERED}")


async def test_a_stream_that_is_not_there(tmp_path: Path, nats: NatsServer) -> None:
    found = await told(
        tmp_path,
        REMEDY_TRANSPORT="nats",
        PUBSUB_URL=nats.url,
        REMEDY_NATS_STREAM="other",
        REMEDY_KEPTN_API="http://127.0.0.1:1/api",
    )
    is_wrong(found["nats"], "the stream other: ")


@pytest.mark.parametrize(
    ("password", "allowed", "words"),
    [("wrong", ">", "can't connect"), (SECRET, "sh.keptn.event.other.>", "permissions violation")],
)
async def test_nats_that_lets_nobody_in_or_denies_the_subject(
    tmp_path: Path, nats: NatsServer, password: str, allowed: str, words: str
) -> None:
    permissions = {"subscribe": {"allow": [allowed, "_INBOX.>"]}}
    user = {"user": "ada", "password": SECRET, "permissions": permissions}
    nats.stop()
    nats.configure(authorization={"users": [user]})
    await nats.start()
    found = await told(
        tmp_path,
        REMEDY_TRANSPORT="nats",
        PUBSUB_URL=nats.url.replace("//", f"//ada:{password}@"),
        REMEDY_KEPTN_API="http://127.0.0.1:1/api",
    )
    is_wrong(found["nats"], words)


# Files that settings name, and whatever else is no service of ours


@pytest.mark.parametrize(
    ("about", "variables"),
    [
        ("policy", {"REMEDY_POLICY": "pipe"}),
        ("channels", {"REMEDY_CHANNELS": "pipe"}),
        ("sources", {"REMEDY_SOURCES": "pipe", "REMEDY_TRANSPORT": "standalone"}),
    ],
)
async def test_a_file_that_never_ends_is_not_waited_for(
    tmp_path: Path, about: str, variables: dict[str, str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    is_wrong((await told(tmp_path, **variables))[about], "isn't a regular file")


async def test_another_service_at_the_ops_port_is_not_taken_for_ours(
    tmp_path: Path, peer: HttpPeer
) -> None:
    peer.answer(json={"ready": "perhaps"})
    held = SqliteJournal.open(tmp_path / JOURNAL)
    try:
        port = peer.url.rpartition(":")[2]
        is_wrong((await told(tmp_path, REMEDY_OPS_PORT=port))["service"], "can't read")
    finally:
        await held.close()


WAITS = """
import asyncio, time
from keptn_remedy import Action, Finding

class Waits(Action):
    name = "waits"

    async def run(self, context, value):
        return None

    async def diagnose(self, http, namespaces):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
        return [Finding("waits", False, "a thread goes on", "wait")]
"""


def test_a_thread_that_goes_on_keeps_the_command_from_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "drop-in"
    folder.mkdir(mode=0o755)
    (folder / "waits.py").write_text(WAITS)
    said = remedy(tmp_path, "doctor", REMEDY_TRANSPORT="local", REMEDY_ACTIONS_DIR=str(folder))
    assert said.code == 1
    assert "a thread goes on" in said.out


async def test_a_check_that_fails_in_an_unforeseen_way_takes_none_of_the_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Policy, "load", lambda _: 1 / 0)
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    found = await told(tmp_path, REMEDY_POLICY="policy.yaml")
    is_wrong(found["policy"], "ZeroDivisionError")
    assert found["clock"]["is_good"]
