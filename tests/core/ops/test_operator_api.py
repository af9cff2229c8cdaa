"""Orders over HTTP: who may give them, what they must look like, and what comes of them."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from string import ascii_letters, hexdigits
from typing import Any

import openapi_spec_validator
import orjson
import pytest
from aiohttp import ClientSession, TCPConnector

from keptn_remedy import Change, Outcome, Plan
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal import JournalError, Pause
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.ops.guesses import REMEMBERED, Guesses
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.operator_api import MAX_BODY_BYTES, OperatorApi
from keptn_remedy.ops.operator_token import OperatorToken, weakness
from keptn_remedy.ops.port import OpsPort
from keptn_remedy.settings import load
from keptn_remedy.support.masking import MASK, Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.variables import SettingsError
from keptn_remedy.testing import registry_of
from tests.log_lines import LogLines, captured_logs
from tests.ordering import TARGET, asking, begun, ended
from tests.providing import Greet
from tests.waiting import until

TOKEN = "correct-horse-battery-staple"
SECRET = "hunter2-and-more"
PROBLEM = "application/problem+json"
JSON = "application/json"
ROUTES = (
    "/api/executions/x/approve",
    "/api/executions/x/deny",
    "/api/executions/x/undo",
    "/api/pause",
    "/api/resume",
    "/api/targets/resume",
    "/api/reports/resend",
)


@dataclass(frozen=True)
class Told:
    status: int
    headers: Any
    json: Any


@dataclass
class Desk:
    """An ops port that takes orders; `heard` counts how often the service was told to look."""

    journal: SqliteJournal
    pauses: Pauses
    mask: Mask
    token_file: Path
    session: ClientSession
    log: LogLines
    metrics: Metrics = field(default_factory=lambda: Metrics("1"))
    url: str = ""
    seconds: float = 1000.0
    heard: list[None] = field(default_factory=list)

    async def order(
        self,
        path: str,
        body: Any = b"{}",
        *,
        token: str | None = TOKEN,
        media_type: str | None = JSON,
        **headers: str,
    ) -> Told:
        given = {"Content-Type": media_type} if media_type else {}
        given |= {"Authorization": f"Bearer {token}"} if token is not None else {}
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(
            f"{self.url}{path}", data=data, headers={**given, **headers}
        ) as answer:
            return Told(answer.status, answer.headers, await answer.json(content_type=None))

    def refused(self, answer: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "remedy_operator_tokens_refused_total", {"answer": answer}
        )

    async def get(self, path: str) -> Told:
        async with self.session.get(f"{self.url}{path}") as answer:
            return Told(answer.status, answer.headers, await answer.json(content_type=None))

    async def question(self, execution_id: str) -> Any:
        return (await self.get(f"/api/executions/{execution_id}")).json["question"]


async def unreadable(execution_id: str) -> None:
    raise JournalError("disk I/O error")


def ops_port(
    journal: SqliteJournal, pauses: Pauses, mask: Mask, api: OperatorApi | None
) -> OpsPort:
    async def ready() -> Readiness:
        return Readiness(ready=True, reasons=[], degraded=[])

    return OpsPort(
        "127.0.0.1",
        0,
        journal=journal,
        registry=registry_of(Greet),
        metrics=Metrics("1"),
        readiness=ready,
        pauses=pauses,
        mask=mask,
        version="1",
        operator_api=api,
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
async def desk(tmp_path: Path, journal: SqliteJournal) -> AsyncIterator[Desk]:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    mask, pauses = Mask(), Pauses(journal, tmp_path / "pause")
    with captured_logs(mask) as log:
        async with ClientSession() as session:
            desk = Desk(journal, pauses, mask, path, session, log)
            token = OperatorToken(path, mask)
            await token.begin()
            api = OperatorApi(
                journal,
                token,
                pauses,
                lambda: desk.heard.append(None),
                mask,
                desk.metrics,
                monotonic=lambda: desk.seconds,
            )
            port = ops_port(journal, pauses, mask, api)
            async with port.serve():
                desk.url = f"http://127.0.0.1:{port.port}"
                yield desk


# What orders do


async def test_an_approved_execution_has_the_verdict_and_the_service_hears_at_once(
    desk: Desk,
) -> None:
    execution = await asking(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/approve", {"reason": "looks right"})
    assert told.status == 200
    assert (told.json["question"]["verdict"], told.json["waiting"]) == ("approved", None)
    assert told.json["question"]["by"] == "operator API from 127.0.0.1"
    assert told.json["question"]["reason"] == "looks right"
    assert await desk.journal.answered() == [execution.id]
    assert len(desk.heard) == 1


async def test_a_denied_execution_has_the_verdict(desk: Desk) -> None:
    execution = await asking(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/deny")
    assert (told.status, told.json["question"]["verdict"]) == (200, "denied")


async def test_an_execution_is_answered_once(desk: Desk) -> None:
    execution = await asking(desk.journal)
    await desk.order(f"/api/executions/{execution.id}/deny")
    told = await desk.order(f"/api/executions/{execution.id}/approve")
    assert (told.status, told.headers["Content-Type"]) == (409, PROBLEM)
    assert (await desk.question(execution.id))["verdict"] == "denied"


async def test_what_asks_nothing_can_not_be_answered(desk: Desk) -> None:
    execution = await begun(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/approve")
    assert told.status == 409
    assert told.json["title"]


@pytest.mark.parametrize("order", ["approve", "deny", "undo"])
@pytest.mark.parametrize(
    "name", ["unknown", "%2e%2e%2f", "%00", "1%27%20OR%201=1", "x" * 4000], ids=len
)
async def test_an_order_about_an_execution_that_is_not_there_is_404(
    desk: Desk, order: str, name: str
) -> None:
    told = await desk.order(f"/api/executions/{name}/{order}")
    assert (told.status, told.headers["Content-Type"]) == (404, PROBLEM)


async def test_a_finished_execution_is_wanted_undone(desk: Desk) -> None:
    execution = await ended(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/undo", {"reason": "too much"})
    assert (told.status, told.json["undo"]["state"]) == (202, "wanted")
    assert told.json["undo"]["reason"] == "too much"
    (due,) = await desk.journal.due_undos(time.time(), 10)
    assert due.execution.id == execution.id


async def test_what_is_undone_can_not_be_undone_again(desk: Desk) -> None:
    execution = await ended(desk.journal)
    await desk.order(f"/api/executions/{execution.id}/undo")
    await desk.journal.begin_undo(execution.id)
    await desk.journal.end_undo(execution.id, "done", "1 replica again")
    told = await desk.order(f"/api/executions/{execution.id}/undo")
    assert (told.status, told.json["title"]) == (409, "it is undone already")


async def test_what_runs_can_not_be_undone(desk: Desk) -> None:
    execution = await begun(desk.journal)
    assert (await desk.order(f"/api/executions/{execution.id}/undo")).status == 409


async def test_a_pause_is_told_until_it_is_resumed(desk: Desk) -> None:
    assert (await desk.get("/api/pause")).json["paused"] is False
    told = await desk.order("/api/pause", {"reason": "release freeze"})
    assert told.status == 200
    assert (await desk.get("/api/pause")).json == told.json
    assert (told.json["paused"], told.json["reason"]) == (True, "release freeze")
    assert told.json["by"] == "operator API from 127.0.0.1"
    resumed = await desk.order("/api/resume")
    assert (resumed.status, resumed.json["paused"]) == (200, False)
    assert (await desk.get("/api/pause")).json == resumed.json
    assert len(desk.heard) == 2


async def test_a_pause_holds_from_its_answer_on(desk: Desk) -> None:
    await desk.order("/api/pause", {"reason": "release freeze"})
    pause = desk.pauses.current
    assert pause
    assert pause.reason == "release freeze"
    await desk.order("/api/resume")
    assert desk.pauses.current is None


async def test_a_pause_of_another_process_is_told_at_once(desk: Desk) -> None:
    await desk.journal.pause("ann@shop", "by command line")
    assert (await desk.get("/api/pause")).json["by"] == "ann@shop"
    await desk.journal.resume()
    assert (await desk.get("/api/pause")).json["paused"] is False


async def test_what_a_file_pauses_stays_paused_when_it_is_resumed(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "pause").write_text("cluster upgrade")
    await desk.pauses.look()
    await desk.order("/api/pause", {"reason": "release freeze"})
    told = await desk.order("/api/resume")
    assert (told.status, told.headers["Content-Type"]) == (409, PROBLEM)
    assert told.json["title"] == (
        f"still paused by file {tmp_path / 'pause'}: cluster upgrade; remove that file to resume"
        " (the pause by operator API from 127.0.0.1 has ended)"
    )
    paused = (await desk.get("/api/pause")).json
    assert (paused["paused"], paused["reason"]) == (True, "cluster upgrade")
    assert await desk.journal.paused() is None


async def test_a_pause_ends_with_its_file(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "pause").write_text("cluster upgrade")
    await desk.pauses.look()
    (tmp_path / "pause").unlink()
    told = await desk.order("/api/resume")
    assert (told.status, told.json["paused"]) == (200, False)


async def test_nothing_is_approved_while_a_file_pauses_but_may_be_denied(
    desk: Desk, tmp_path: Path
) -> None:
    execution = await asking(desk.journal)
    (tmp_path / "pause").write_text("cluster upgrade")
    told = await desk.order(f"/api/executions/{execution.id}/approve")
    assert (told.status, told.headers["Content-Type"]) == (409, PROBLEM)
    assert told.json["title"] == (
        f"paused by file {tmp_path / 'pause'}: cluster upgrade; remove that file, then approve"
    )
    assert (await desk.question(execution.id))["verdict"] is None
    assert (await desk.order("/api/executions/unknown/approve")).status == 404
    assert (await desk.order(f"/api/executions/{execution.id}/deny")).status == 200


async def test_a_pause_is_not_forgotten_by_who_looked_before_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, goes_on, paused = asyncio.Event(), asyncio.Event(), desk.journal.paused

    async def told_late() -> Pause | None:
        found = await paused()
        looked.set()
        await goes_on.wait()
        return found

    monkeypatch.setattr(desk.journal, "paused", told_late)
    look = asyncio.create_task(desk.get("/api/pause"))
    await looked.wait()
    await desk.order("/api/pause", {"reason": "release freeze"})
    goes_on.set()
    assert (await look).json["paused"] is False
    assert desk.pauses.current


async def test_resuming_what_is_not_paused_is_no_mistake(desk: Desk) -> None:
    assert (await desk.order("/api/resume")).status == 200


async def test_executions_that_wait_for_an_answer_are_listed_as_such(desk: Desk) -> None:
    await begun(desk.journal)
    first, second = await asking(desk.journal), await asking(desk.journal)
    page = (await desk.get("/api/executions?waiting=approval&limit=1")).json
    rest = (await desk.get(f"/api/executions?waiting=approval&before={page['next']}")).json
    assert [e["id"] for e in page["executions"]] == [second.id]
    assert [e["id"] for e in rest["executions"]] == [first.id]
    everything = (await desk.get("/api/executions")).json["executions"]
    assert [e["waiting"] for e in everything] == ["approval", "approval", None]
    assert (await desk.get("/api/executions?waiting=approval&state=accepted")).json == {
        "executions": [],
        "next": None,
    }
    assert (await desk.get("/api/executions?waiting=godot")).status == 400


@pytest.mark.parametrize("asked_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_verdict_on_a_question_of_another_time_is_refused(
    desk: Desk, asked_at: str
) -> None:
    execution = await asking(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/approve", {"asked_at": asked_at})
    assert told.status == 409


@pytest.mark.parametrize("asked_at", ["0001-01-01T00:00:00", "2026-01-01T00:00:00", "", "x", 1e300])
async def test_a_time_without_a_zone_is_400(desk: Desk, asked_at: Any) -> None:
    execution = await asking(desk.journal)
    told = await desk.order(f"/api/executions/{execution.id}/approve", {"asked_at": asked_at})
    assert told.status == 400
    assert re.match(r"asked_at: must (be a time|have a time zone), such as", told.json["title"])


async def test_nothing_that_is_told_holds_a_secret(desk: Desk) -> None:
    desk.mask.hide(SECRET)
    plan = Plan((Change(TARGET, "url", f"http://u:{SECRET}@h", "-"),), notes=(f"by {SECRET}",))
    execution = await asking(desk.journal, plan, labels={"token": SECRET})
    told = [
        await desk.order(f"/api/executions/{execution.id}/approve"),
        await desk.get(f"/api/executions/{execution.id}"),
    ]
    changed = await ended(desk.journal, Outcome.passed(f"with {SECRET}", key=SECRET))
    await desk.journal.want_undo(changed.id, "an order", "ann", f"not {SECRET}")
    await desk.journal.pause("ann", SECRET)
    told += [
        await desk.order(f"/api/executions/{changed.id}/undo"),
        await desk.get(f"/api/executions/{changed.id}"),
        await desk.get("/api/executions"),
        await desk.get("/api/pause"),
    ]
    for answer in told:
        assert SECRET not in str(answer.json)
    assert MASK in str(told[0].json["question"]["plan"])
    assert told[1].json["trigger"]["data"]["labels"] == {"token": MASK}


# Who may order


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], f"{TOKEN}x", "ünïcode-\udcff"])
async def test_without_the_token_nothing_is_ordered(
    desk: Desk, path: str, token: str | None
) -> None:
    told = await desk.order(path, {"reason": "mine"}, token=token)
    assert (told.status, told.headers["Content-Type"]) == (401, PROBLEM)
    assert told.headers["WWW-Authenticate"] == "Bearer"
    assert await desk.journal.paused() is None
    assert not desk.heard


@pytest.mark.parametrize(
    "header", [TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", f"Bearer {TOKEN} {TOKEN}", "Bearer"]
)
async def test_a_token_in_another_form_is_none(desk: Desk, header: str) -> None:
    told = await desk.order("/api/resume", token=None, Authorization=header)
    assert told.status == 401


async def test_a_token_in_the_address_is_none(desk: Desk) -> None:
    told = await desk.order(f"/api/resume?access_token={TOKEN}", token=None)
    assert told.status == 401


async def test_who_guesses_is_told_to_wait_and_learns_nothing_meanwhile(desk: Desk) -> None:
    told = [await desk.order("/api/resume", token=f"guess {n}") for n in range(7)]
    assert [t.status for t in told] == [401] * 5 + [429] * 2
    assert (told[-1].headers["Retry-After"], told[-1].headers["Content-Type"]) == ("10", PROBLEM)
    assert (await desk.order("/api/resume")).status == 429
    assert (desk.refused("wrong"), desk.refused("limited")) == (5, 3)
    desk.seconds += 9.5
    assert (await desk.order("/api/resume", token="guess")).headers["Retry-After"] == "1"
    desk.seconds += 0.5
    assert (await desk.order("/api/resume", token="guess")).status == 401
    assert (await desk.order("/api/resume")).status == 200


async def test_guesses_side_by_side_are_limited_too(desk: Desk) -> None:
    guesses = [desk.order("/api/resume", token=f"guess {n}") for n in range(40)]
    told = [t.status for t in await asyncio.gather(*guesses, desk.order("/api/resume"))]
    assert told.count(401) == 5
    assert desk.refused("wrong") == 5


async def test_whoever_guesses_locks_nobody_else_out(desk: Desk) -> None:
    for n in range(9):
        await desk.order("/api/resume", token=f"guess {n}")
    elsewhere = TCPConnector(local_addr=("127.0.0.2", 0))
    async with ClientSession(connector=elsewhere) as desk.session:
        assert (await desk.order("/api/resume")).status == 200


def test_one_who_has_many_addresses_is_one_and_few_are_remembered() -> None:
    guesses = Guesses(lambda: 0.0)
    assert guesses.of("2001:db8::1") is guesses.of("2001:db8::2:3")
    assert guesses.of("2001:db8::1") is not guesses.of("2001:db8:0:1::1")
    assert guesses.of("::ffff:10.0.0.1") is guesses.of("10.0.0.1")
    first = guesses.of("10.0.0.2")
    for n in range(REMEMBERED):
        guesses.of(f"peer {n}")
    assert guesses.of("10.0.0.2") is not first


async def test_to_show_no_token_is_no_guess(desk: Desk) -> None:
    told = [await desk.order("/api/resume", token=None) for _ in range(7)]
    assert {t.status for t in told} == {401}
    assert (await desk.order("/api/resume", token="wrong")).status == 401
    assert len(desk.log.saying("operator refused")) == 5


async def test_a_token_is_replaced_while_the_service_runs(desk: Desk, tmp_path: Path) -> None:
    mounted = [tmp_path / "..2026_1", tmp_path / "..2026_2"]
    for folder, token in zip(mounted, (TOKEN, "the-next-token-of-all"), strict=True):
        folder.mkdir()
        (folder / "token").write_text(token)
    data = tmp_path / "..data"
    data.symlink_to(mounted[0])
    desk.token_file.unlink()
    desk.token_file.symlink_to(data / "token")
    assert (await desk.order("/api/resume")).status == 200
    (tmp_path / "next").symlink_to(mounted[1])
    (tmp_path / "next").rename(data)
    assert (await desk.order("/api/resume")).status == 401
    told = await desk.order(
        "/api/pause", {"reason": "the-next-token-of-all"}, token="the-next-token-of-all"
    )
    assert (told.status, told.json["reason"]) == (200, MASK)


@pytest.mark.parametrize("left", [None, "", "short"])
async def test_while_the_file_holds_no_token_none_is_right(desk: Desk, left: str | None) -> None:
    desk.token_file.unlink()
    if left is not None:
        desk.token_file.write_text(left)
    for token in (TOKEN, "short"):
        told = await desk.order("/api/resume", token=token)
        assert (told.status, told.headers["Content-Type"]) == (503, PROBLEM)
    assert "REMEDY_OPERATOR_TOKEN_FILE" in desk.log.at("ERROR")[0]["reason"]


async def test_who_shows_no_token_has_nothing_read(desk: Desk) -> None:
    desk.token_file.unlink()
    assert (await desk.order("/api/resume", token=None)).status == 401
    assert (await desk.order("/api/resume", token="")).status == 401


async def test_a_token_that_would_have_to_be_waited_for_is_not(desk: Desk) -> None:
    desk.token_file.unlink()
    os.mkfifo(desk.token_file)
    assert (await desk.order("/api/resume")).status == 503
    assert "it isn't a regular file" in desk.log.at("ERROR")[0]["reason"]


async def test_a_mount_that_hangs_holds_up_nobody_and_is_heard_once_it_answers(
    desk: Desk, answer_mount: Callable[[], None]
) -> None:
    for _ in range(2):
        assert (await desk.order("/api/resume")).status == 503
    assert (await desk.get("/healthz")).status == 200
    assert "it takes too long" in desk.log.at("ERROR")[0]["reason"]
    answer_mount()
    assert (await desk.order("/api/resume")).status == 200


async def test_a_token_that_was_read_too_late_is_not_the_token_now(
    tmp_path: Path, answer_mount: Callable[[], None]
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    token = OperatorToken(path, Mask())
    with pytest.raises(SettingsError):
        await token.read()
    answer_mount()
    await until(lambda: len(asyncio.all_tasks()) == 1)  # it has been read
    path.write_text(TOKEN[::-1])
    assert await token.read() == TOKEN[::-1]


async def test_a_file_without_a_token_does_not_flood_the_log(desk: Desk) -> None:
    desk.token_file.unlink()
    for _ in range(50):
        await desk.order("/api/resume", token="x")
    assert len(desk.log.all) == 10


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (None, "No such file"),
        (b"", "under 16 characters"),
        (b" \n fifteen-letters \n", "under 16 characters"),
        (b"\xff" * 32, "it is not text"),
        (b"x" * 5000, "over 4096 characters"),
        (b"aaaabbbbccccddddee", "under 6 different characters"),
        (b"fifteen-fifteen-fifteen", "repeats itself"),
        (b"Change-Me-Please-123456", "common words"),
        (b"my-secret-operator-token", "common words"),
        (b"password1234567890", "common words"),
        (b"qwertyuiop1234567890", "common words"),
        (b"0123456789abcdefghij", "common words"),
    ],
)
async def test_a_file_without_a_token_ends_the_start(
    tmp_path: Path, content: bytes | None, hint: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        await OperatorToken(path, Mask()).begin()
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("REMEDY_OPERATOR_TOKEN_FILE: ")
    assert hint in mistake
    assert "fifteen" not in mistake


@pytest.mark.parametrize(("alphabet", "length"), [(hexdigits[:16], 16), (ascii_letters, 16)])
def test_a_random_token_is_not_weak(alphabet: str, length: int) -> None:
    random = Random(1)  # noqa: S311  no secret
    tokens = ("".join(random.choices(alphabet, k=length)) for _ in range(500))
    assert {weakness(token) for token in tokens} == {None}


def test_a_token_in_a_variable_is_a_mistake_that_names_the_file() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"REMEDY_OPERATOR_TOKEN": TOKEN})
    (mistake,) = caught.value.mistakes
    assert "did you mean REMEDY_OPERATOR_TOKEN_FILE?" in mistake
    assert TOKEN not in mistake


async def test_without_a_token_the_routes_are_not_there(journal: SqliteJournal) -> None:
    port = ops_port(journal, Pauses(journal), Mask(), None)
    async with port.serve(), ClientSession() as session:
        url = f"http://127.0.0.1:{port.port}"
        for path in ROUTES:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with session.post(f"{url}{path}", json={}, headers=headers) as answer:
                assert answer.status == (405 if path == "/api/pause" else 404)
        async with session.get(f"{url}/openapi.json") as answer:
            document = await answer.json()
        assert not any("post" in operations for operations in document["paths"].values())
        assert "securitySchemes" not in document["components"]


async def test_what_can_be_ordered_is_described(desk: Desk) -> None:
    document = (await desk.get("/openapi.json")).json
    openapi_spec_validator.validate(document)
    for path in ROUTES:
        described = document["paths"][path.replace("/x/", "/{id}/")]["post"]
        assert described["security"] == [{"operator": []}]
        assert {"400", "401", "413", "415", "429", "503"} <= described["responses"].keys()


# What an order looks like


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        ({}, "reason: is missing"),
        ({"reason": ""}, "reason: must not be empty"),
        ({"reason": " \t"}, "reason: must not be empty"),
        ({"reason": "\x1c"}, "reason: must not be empty"),
        ({"reason": None}, "reason: must be text"),
        ({"reason": 7}, "reason: must be text"),
        ({"reason": "x" * 1001}, "reason: must not be longer than 1000 characters"),
        ({"reason": "why", "by": "me"}, "by: there is no such field"),
    ],
)
async def test_an_order_that_makes_no_sense_is_400_and_says_what(
    desk: Desk, body: Any, hint: str
) -> None:
    told = await desk.order("/api/pause", body)
    assert (told.status, told.headers["Content-Type"]) == (400, PROBLEM)
    assert hint in told.json["title"]
    assert await desk.journal.paused() is None


@pytest.mark.parametrize(
    "media_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"],
)
async def test_what_a_form_can_send_is_no_order(desk: Desk, media_type: str | None) -> None:
    told = await desk.order("/api/pause", {"reason": "x"}, media_type=media_type)
    assert told.status == 415


async def test_no_other_site_is_told_that_it_may_order(desk: Desk) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with desk.session.options(f"{desk.url}/api/pause", headers=asked) as answer:
        assert answer.status == 403
    told = await desk.order("/api/resume", Origin="https://evil.example")
    assert told.status == 403
    for headers in (answer.headers, told.headers):
        assert not any(name.lower().startswith("access-control-") for name in headers)
        assert "Set-Cookie" not in headers


async def test_an_order_of_any_length_is_bounded(desk: Desk) -> None:
    body = b'{"reason": "' + b" " * MAX_BODY_BYTES + b'x"}'
    told = await desk.order("/api/pause", body)
    assert (told.status, told.headers["Content-Type"]) == (413, PROBLEM)
    assert (await desk.order("/api/resume")).status == 200


async def test_a_reason_can_forge_no_line(desk: Desk) -> None:
    told = await desk.order("/api/pause", {"reason": "a\n{}\x1b[2J\x9b\u202e b \x00"})
    assert told.json["reason"] == "a {}�[2J�� b �"
    assert told.json["reason"].isprintable()


# What is told of it afterwards


async def test_each_order_is_one_line_of_the_log(desk: Desk) -> None:
    execution = await asking(desk.journal)
    await desk.order(f"/api/executions/{execution.id}/approve", {"reason": "fine"})
    await desk.order("/api/pause", {"reason": f"with {TOKEN}"})
    first, second = desk.log.saying("operator order")
    assert (first["order"], first["subject"], first["reason"]) == ("approve", execution.id, "fine")
    assert (first["peer"], first["result"]) == ("127.0.0.1", "taken")
    assert (second["subject"], second["reason"]) == ("everything", f"with {MASK}")
    assert TOKEN.encode() not in desk.log.raw


async def test_each_refusal_is_one_line_of_the_log_and_a_flood_of_them_a_number(
    desk: Desk,
) -> None:
    for _ in range(50):
        await desk.order("/api/executions/a%0Ab/undo", token="wrong-but-not-told")
    desk.seconds += 10
    await desk.order("/api/executions/unknown/deny")
    refused = desk.log.saying("operator refused")
    assert [line["status"] for line in refused] == [401] * 5 + [404]
    assert (refused[0]["order"], refused[0]["subject"]) == ("undo", "a b")
    assert (refused[-1]["unlogged"], refused[-1]["result"]) == (45, "there is no such execution")
    assert b"wrong-but-not-told" not in desk.log.raw
    assert not desk.log.saying("operator order")


@pytest.mark.parametrize("order", ["approve", "deny", "undo"])
async def test_an_order_that_was_taken_is_reported_as_taken_even_if_it_can_not_be_shown(
    desk: Desk, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await (ended if order == "undo" else asking)(desk.journal)
    with monkeypatch.context() as patched:
        patched.setattr(desk.journal, "record", unreadable)
        told = await desk.order(f"/api/executions/{execution.id}/{order}")
    assert (told.status, told.json["title"]) == (
        503,
        "the order was stored, but the execution can't be read now; read it again later",
    )
    assert [line["order"] for line in desk.log.saying("operator order")] == [order]
    assert not desk.log.saying("operator refused")
    assert len(desk.heard) == 1
    told = await desk.order(f"/api/executions/{execution.id}/{order}")
    assert told.status == (202 if order == "undo" else 409)


async def test_an_order_that_was_refused_is_reported_as_refused_even_if_it_is_not_known_why(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await begun(desk.journal)
    monkeypatch.setattr(desk.journal, "record", unreadable)
    told = await desk.order(f"/api/executions/{execution.id}/approve")
    assert told.status == 503
    assert told.json["title"] == "the journal can't be used now; try again"
    assert len(desk.log.saying("operator refused")) == 1


async def test_a_journal_that_fails_is_503_and_logged(desk: Desk) -> None:
    await desk.journal._writer.close()
    told = await desk.order("/api/pause", {"reason": "now"})
    assert (told.status, told.headers["Content-Type"]) == (503, PROBLEM)
    (line,) = desk.log.saying("operator refused")
    assert line["status"] == 503
