"""Commands that ask a running service, and order it, over HTTP; and how executions are named."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from keptn_remedy import Outcome
from keptn_remedy.cli import server
from keptn_remedy.cli.execution_ids import completed
from keptn_remedy.cli.server import RemoteService
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.operator_api import OperatorApi
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.ops.port import OpsPort
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import registry_of
from tests.commands import Said
from tests.core.cli.orders import answered, wanted
from tests.log_lines import captured_logs
from tests.ordering import TARGET, asking, begun, ended, say
from tests.providing import Greet

TOKEN = "correct-horse-battery-staple"


@dataclass
class Remote:
    """A service that is asked by its address alone; there is no journal where commands run."""

    url: str
    folder: Path
    journal: SqliteJournal

    async def say(self, *arguments: str, **variables: str) -> Said:
        given = {"REMEDY_TOKEN_FILE": "token", "REMEDY_SERVER": self.url, **variables}
        return await say(self.folder, *arguments, REMEDY_JOURNAL="nowhere.db", **given)


@pytest.fixture
async def remote(tmp_path: Path, journal: SqliteJournal) -> AsyncIterator[Remote]:
    (tmp_path / "token").write_text(TOKEN)
    metrics, pauses, mask = Metrics("1"), Pauses(journal), Mask()
    token = OperatorToken(tmp_path / "token", mask)
    await token.begin()

    async def ready() -> Readiness:
        return Readiness(ready=True, reasons=[], degraded=[])

    port = OpsPort(
        "127.0.0.1",
        0,
        journal=journal,
        registry=registry_of(Greet),
        metrics=metrics,
        readiness=ready,
        pauses=pauses,
        mask=mask,
        version="1",
        operator_api=OperatorApi(journal, token, pauses, lambda: None, mask, metrics),
    )
    with captured_logs(mask):
        async with port.serve():
            yield Remote(f"http://127.0.0.1:{port.port}", tmp_path, journal)


async def test_a_service_lists_its_executions_as_the_journal_does(remote: Remote) -> None:
    await ended(remote.journal, Outcome.failed("no better"), service="orders")
    asked, behind = await asking(remote.journal), await begun(remote.journal)
    for options in (
        (),
        ("--json",),
        ("--waiting",),
        ("--service", "orders"),
        ("--result", "fail", "--since", "1h"),
        ("--state", "started", "--json"),
    ):
        told = await remote.say("journal", "list", *options)
        assert told == await say(remote.folder, "journal", "list", *options)
        assert told.code == 0
        assert told.out
    assert asked.id in (await remote.say("journal", "list", "--waiting")).out
    assert (await remote.say("journal", "list", "--since", "2100-01-01")).out.count("\n") == 1
    assert (await remote.say("journal", "list", "--context", behind.trigger.context)).out


async def test_a_service_shows_an_execution_as_the_journal_does(remote: Remote) -> None:
    done, asked = await ended(remote.journal), await asking(remote.journal)
    await remote.journal.want_undo(done.id, "an order", "ann@shop", "too much")
    await remote.journal.note_failed_attempt(done, "apply", 2, "503 Service Unavailable")
    for execution in (done, asked):
        for options in ((), ("--json",)):
            told = await remote.say("journal", "show", execution.id, *options)
            assert told == await say(remote.folder, "journal", "show", execution.id, *options)
            assert told.code == 0
    shown = (await remote.say("journal", "show", done.id)).out
    assert "attempt 2 failed (apply): 503 Service Unavailable" in shown
    assert (await remote.say("journal", "export")).out.count("\n") == 2


@pytest.mark.parametrize("name", [".", "..", "~.", "a/../b", "%2E"])
async def test_an_id_that_a_path_would_take_out_is_found_at_a_service(
    remote: Remote, name: str
) -> None:
    await ended(remote.journal, id=name)
    told = await remote.say("journal", "show", name)
    assert (told.code, told.err) == (0, "")
    assert told == await say(remote.folder, "journal", "show", name)
    assert f"{name!r} is not denied" in (await remote.say("deny", name)).err


@pytest.mark.parametrize("words", [("episodes", "list"), ("episodes", "show", "e1"), ("score",)])
async def test_a_service_beside_keptn_says_that_it_has_no_episodes(
    remote: Remote, words: tuple[str, ...]
) -> None:
    told = await remote.say(*words, "--json")
    assert told.code == 1
    assert "has no episodes: it does not run with --standalone" in json.loads(told.err)["error"]


async def test_the_option_wins_over_the_variable(remote: Remote) -> None:
    done = await ended(remote.journal)
    told = await remote.say(
        "journal", "list", "--server", remote.url, REMEDY_SERVER="http://127.0.0.1:1"
    )
    assert done.id in told.out


async def test_an_approval_reaches_the_service(remote: Remote) -> None:
    execution = await asking(remote.journal)

    async def play() -> None:
        await answered(remote.journal)
        await remote.journal.admit(execution, None, [], lambda history: None)

    said, _ = await asyncio.gather(
        remote.say("approve", "@waiting", "--reason", "looks right"), play()
    )
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("approved: the execution continues")


async def test_a_denial_that_comes_too_late_is_refused(remote: Remote) -> None:
    execution = await ended(remote.journal)
    said = await remote.say("deny", execution.id)
    assert said.code == 1
    assert f"{execution.id!r} is not denied" in said.err


async def test_a_service_undoes(remote: Remote) -> None:
    execution = await ended(remote.journal)

    async def play() -> None:
        await wanted(remote.journal, execution)
        await remote.journal.end_undo(execution.id, "done", "1 replica again")

    said, _ = await asyncio.gather(remote.say("undo", "@last"), play())
    assert (said.code, said.out, said.err) == (0, "undone: 1 replica again\n", "")


async def test_a_service_is_paused_and_resumed(remote: Remote) -> None:
    paused = await remote.say("pause", "--reason", "a drill")
    assert (paused.code, paused.err) == (0, "")
    pause = await remote.journal.paused()
    assert pause
    assert pause.reason.startswith("a drill (")
    assert (await remote.say("resume")).out.startswith("resumed: this ends the pause by")
    assert await remote.journal.paused() is None


async def test_targets_are_resumed_and_reports_sent_again(remote: Remote) -> None:
    await ended(remote.journal, Outcome.failed("no better"))
    resumed = await remote.say("resume", "--target", TARGET)
    assert resumed.out == "resumed: earlier failures on 1 target no longer count\n"
    assert (await remote.say("reports", "resend")).out == "no report is parked\n"
    assert "started" in (await remote.say("reports", "list")).out


async def test_a_service_tells_its_actions(remote: Remote) -> None:
    (action,) = json.loads((await remote.say("actions", "--json")).out)
    assert action["name"] == "greet"
    assert "greet" in (await remote.say("actions", "Greet")).out
    said = await remote.say("actions", "greed")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("has no action 'greed'; did you mean greet?\n")


async def test_a_journal_is_followed_over_http(remote: Remote) -> None:
    from keptn_remedy.cli.remote_journal import RemoteJournal
    from keptn_remedy.cli.server import RemoteService

    first = await begun(remote.journal)
    followed = RemoteJournal(RemoteService(remote.url))
    try:
        found, since = await followed.changes(None, 100)
        assert found == []
        second = await ended(remote.journal)
        found, since = await followed.changes(since, 100)
        assert [(r.id, r.state) for r in found] == [(second.id, "finished")]
        await remote.journal.note_abort(first.id, "by a test")
        assert (await followed.changes(since, 100))[0] == []
        found, _ = await followed.changes(None, 100, from_start=True)
        assert found == []
    finally:
        await followed.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"REMEDY_SERVER": "http://127.0.0.1:1"}, "can't reach http://127.0.0.1:1: "),
        ({"REMEDY_TOKEN_FILE": "other"}, "the operator token is wrong; see --token-file"),
        ({"REMEDY_SERVER": "nonsense"}, "REMEDY_SERVER: "),
        ({"REMEDY_TOKEN_FILE": "nowhere"}, "REMEDY_TOKEN_FILE"),
    ],
    ids=str,
)
async def test_a_service_that_can_not_be_asked_is_told(
    remote: Remote, change: dict[str, str], why: str
) -> None:
    (remote.folder / "other").write_text("another-token-of-somebody")
    said = await remote.say("pause", "--reason", "x", **change)
    assert said.code in (1, 2)
    assert said.out == ""
    assert why in said.err
    as_json = await remote.say("pause", "--reason", "x", "--json", **change)
    assert why in json.loads(as_json.err)["error"]


@pytest.mark.parametrize("status", [301, 303, 307])
async def test_a_server_that_leads_elsewhere_is_not_followed(remote: Remote, status: int) -> None:
    asked: list[str] = []

    async def lead(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead)
    async with TestServer(app) as elsewhere:
        url = str(elsewhere.make_url("/")).rstrip("/")
        said = await remote.say("pause", "--reason", "x", REMEDY_SERVER=url)
    assert (said.code, asked) == (1, ["/api/pause"])
    assert f"{url} answered {status}, and leads to http://127.0.0.1:1" in said.err


async def test_the_token_is_sent_with_orders_alone() -> None:
    given: list[tuple[str, str | None]] = []

    async def note(request: web.Request) -> web.Response:
        given.append((request.method, request.headers.get("Authorization")))
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    async with TestServer(app) as noting:
        service = RemoteService(str(noting.make_url("/")), TOKEN)
        await service.get("/api/pause")
        await service.order("/api/resume")
        await service.close()
    assert given == [("GET", None), ("POST", f"Bearer {TOKEN}")]


Named = Callable[[SqliteJournal], Awaitable[str]]


async def test_an_execution_is_named_by_the_beginning_of_its_id(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    first, second = await ended(journal, id="abcd-1"), await ended(journal, id="abcd-2")
    other = await asking(journal, id="xyzw-1")
    for name, execution in (
        ("abcd-1", first),
        ("abcd-2", second),
        ("xyzw", other),
        ("@last", other),
        ("@waiting", other),
    ):
        shown = json.loads((await say(tmp_path, "journal", "show", name, "--json")).out)
        assert shown["id"] == execution.id
    said = await say(tmp_path, "journal", "show", "abcd")
    assert (said.code, said.err) == (1, "remedy: several ids begin with 'abcd': abcd-1, abcd-2\n")
    assert (await say(tmp_path, "journal", "show", "xyz")).code == 1


async def test_what_waits_must_be_the_only_one(tmp_path: Path, journal: SqliteJournal) -> None:
    assert "no execution waits" in (await say(tmp_path, "approve", "@waiting")).err
    assert "no execution yet" in (await say(tmp_path, "undo", "@last")).err
    await asking(journal, id="one1", service="carts")
    await asking(journal, id="two2", service="orders")
    said = await say(tmp_path, "approve", "@waiting")
    assert (said.code, said.err) == (1, "remedy: several wait for approval: one1, two2\n")


async def test_a_shell_is_offered_ids(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(journal, id="abcd-1")
    await ended(journal, id="xyzw-1")
    monkeypatch.setenv("REMEDY_JOURNAL", str(tmp_path / "journal.db"))
    assert await asyncio.to_thread(completed, "ab") == ["abcd-1"]
    assert await asyncio.to_thread(completed, "") == ["xyzw-1", "abcd-1"]
    assert await asyncio.to_thread(completed, "@l") == ["@last"]
    monkeypatch.setenv("REMEDY_JOURNAL", str(tmp_path / "nowhere.db"))
    assert await asyncio.to_thread(completed, "ab") == []


async def test_usage_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    said = await say(tmp_path, "journal", "list", "--json", "--since", "yesterday")
    assert (said.code, said.out) == (2, "")
    assert json.loads(said.err)["error"].startswith("--since takes a duration or a time in UTC")


NO_WAITS: dict[str, object] = {"asking": [], "first": []}


async def said_to(
    folder: Path, answer: Callable[[web.Request], Awaitable[web.StreamResponse]], *command: str
) -> Said:
    """A command to whatever answers so."""
    (folder / "token").write_text(TOKEN)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as elsewhere:
        url = str(elsewhere.make_url(""))
        return await say(folder, *command, REMEDY_SERVER=url, REMEDY_TOKEN_FILE="token")


@pytest.mark.parametrize(
    ("command", "answer", "why"),
    [
        ("journal list", NO_WAITS, "executions: Field required"),
        ("journal list", {**NO_WAITS, "executions": [{"id": 1}]}, "executions.0.id: Input"),
        ("journal list", {**NO_WAITS, "executions": "no"}, "executions: Input should be"),
        ("journal show 12345678-1234", {"ids": 7}, "ids: Input should be a valid list"),
        ("journal list", {"executions": [], "next": None}, "asking: Field required"),
        ("reports list", {"reports": [{}]}, "reports.0.kind: Field required"),
        ("pause --reason x", {"paused": "perhaps"}, "paused: Input should be a valid boolean"),
        ("actions", {"actions": [{}]}, "actions.0.name: Field required"),
    ],
)
async def test_an_answer_that_is_no_answer_is_refused_in_one_line(
    tmp_path: Path, command: str, answer: object, why: str
) -> None:
    async def answered_so(_: web.Request) -> web.Response:
        return web.json_response(answer)

    said = await said_to(tmp_path, answered_so, *command.split())
    assert said.code == 1
    [mistake] = said.mistakes
    assert "answered what this release can't read" in mistake
    assert why in mistake


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (401, '{"title": "the agents\' token is wrong"}', "token is wrong; see --token-file"),
        (429, '{"title": "too many wrong tokens"}', "answered: too many wrong tokens"),
        (404, '{"title": "post events to /"}', "REMEDY_AGENT_TOKEN_FILE is not set there"),
        (401, "<html>sign in</html>", "is not the ops port of a keptn-remedy: it answered 401"),
        (403, "[]", "is not the ops port of a keptn-remedy: it answered 403"),
        (200, "{}", "is not the ops port of a keptn-remedy: it answered 200"),
        (302, "", "leads to http://127.0.0.1:1/; name the ops port itself"),
        (400, '{"jsonrpc": "2.0", "id": null}', "/mcp can't be asked: "),
    ],
)
async def test_no_agent_is_let_in_elsewhere_and_why_is_one_line(
    tmp_path: Path, status: int, answer: str, why: str
) -> None:
    async def answered_so(_: web.Request) -> web.Response:
        leads_to = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
        return web.Response(status=status, text=answer, headers=leads_to)

    said = await said_to(tmp_path, answered_so, "mcp")
    assert (said.code, said.out) == (1, "")
    [mistake] = said.mistakes
    assert why in mistake


async def test_an_answer_without_an_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_ANSWER_BYTES", 200_000)

    async def without_end(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b" " * 50_000)
        return answer

    said = await said_to(tmp_path, without_end, "journal", "list")
    assert said.code == 1
    assert said.mistakes[0].endswith("answered more than 200,000 bytes")
