"""The ops port: it keeps to its own description, tells all, and changes nothing by itself."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openapi_spec_validator
import pytest
import schemathesis
from aiohttp import ClientSession, web
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import ignored_auth

from keptn_remedy.events import STARTED
from keptn_remedy.journal import rows
from keptn_remedy.ops import openapi
from keptn_remedy.ops.port import LARGE_ANSWERS
from keptn_remedy.service import Service
from keptn_remedy.support.variables import SettingsError
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Gate, Greet, event_url, gated, ops_url, provider
from tests.waiting import until

DOCUMENT = openapi.document("1.2.3", orders=False)
WITH_ORDERS = openapi.document("1.2.3", orders=True)
TOKEN = "correct-horse-battery-staple"
PATHS = [*DOCUMENT["paths"], "/metrics", "/openapi.json"]
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Told:
    """A page of the ops port. `headers` are looked up without regard to case."""

    status: int
    media_type: str
    headers: Any
    json: Any


@dataclass(frozen=True)
class Ops:
    """A provider, its Keptn and its ops port."""

    service: Service
    keptn: FakeKeptn
    gate: Gate
    session: ClientSession

    async def get(self, path: str, method: str = "GET", **query: str) -> Told:
        url = ops_url(self.service, path)
        async with self.session.request(method, url, params=query) as answer:
            content = await answer.json(content_type=None) if method != "HEAD" else None
            return Told(answer.status, answer.content_type, answer.headers, content)

    async def is_answered(self) -> bool:
        """Whether the port has a place for us."""
        return (await self.get("/healthz")).status == 200

    async def text(self, path: str, **headers: str) -> str:
        async with self.session.get(ops_url(self.service, path), headers=headers) as answer:
            assert answer.status == 200
            return await answer.text()

    async def deliver(self, action: str = Greet.name, **fields: Any) -> str:
        event = triggered(action, {}, **fields)
        answer = await self.keptn.deliver(event, to=event_url(self.service))
        assert answer.status == 202
        return str(event["id"])

    async def finished(self, **fields: Any) -> str:
        """An execution that Keptn has heard the end of."""
        execution_id = await self.deliver(**fields)
        await self.keptn.task_finished(execution_id)
        return execution_id

    async def all_told(self) -> None:
        """Let everything end, and wait until nothing is left to report."""
        self.gate.open()

        async def nothing_is_left() -> bool:
            backlog = await self.service.journal.backlog()
            return not (backlog.executions or backlog.unsent)

        await until(nothing_is_left)

    async def in_every_state(self) -> dict[str, str]:
        """An execution per state, until the gate is opened: the accepted one waits its turn."""
        finished = await self.finished()
        started = await self.deliver("wait", service="carts")
        await self.gate.until_entered(1)
        accepted = await self.deliver("wait", service="carts")
        return {"accepted": accepted, "started": started, "finished": finished}


@pytest.fixture
async def ops(tmp_path: Path) -> AsyncIterator[Ops]:
    gate = Gate()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Greet, gated(gate)) as service,
        ClientSession() as session,
    ):
        ops = Ops(service, keptn, gate, session)
        yield ops
        await ops.all_told()


def token(folder: Path) -> Path:
    path = folder / "token"
    path.write_text(TOKEN)
    return path


# Its description


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ops port's URL, of a provider in a thread of its own: schemathesis blocks."""
    url, leave, ready = [""], asyncio.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        folder, gate = tmp_path_factory.mktemp("served"), Gate()
        async with (
            FakeKeptn() as keptn,
            provider(
                folder / "journal.db", keptn, Greet, gated(gate), operator_token_file=token(folder)
            ) as service,
            ClientSession() as session,
        ):
            ops = Ops(service, keptn, gate, session)
            await ops.in_every_state()
            url[0] = ops_url(service, "")
            loops.append(asyncio.get_running_loop())
            ready.set()
            await leave.wait()
            await ops.all_told()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield url[0]
    loops[0].call_soon_threadsafe(leave.set)
    thread.join()


@schemathesis.openapi.from_dict(WITH_ORDERS).parametrize()
@hypothesis_settings(
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_answer_is_as_the_document_says(case: schemathesis.Case[Any], served: str) -> None:
    case.call_and_validate(
        base_url=served,
        headers={"Authorization": f"Bearer {TOKEN}"},
        excluded_checks=[ignored_auth],  # it guesses so often that it is told to wait: 429
    )


async def test_the_document_is_valid_openapi(ops: Ops) -> None:
    document = (await ops.get("/openapi.json")).json
    openapi_spec_validator.validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["paths"] == DOCUMENT["paths"]


# Executions


async def test_executions_are_told_newest_first_and_by_state(ops: Ops) -> None:
    ids = await ops.in_every_state()
    told = (await ops.get("/api/executions")).json
    assert [execution["id"] for execution in told["executions"]] == [
        ids["accepted"],
        ids["started"],
        ids["finished"],
    ]
    for state, execution_id in ids.items():
        (only,) = (await ops.get("/api/executions", state=state)).json["executions"]
        assert (only["id"], only["state"]) == (execution_id, state)


async def test_pages_hold_every_execution_once(ops: Ops) -> None:
    ids = [await ops.finished(id=f"t{number}") for number in range(7)]
    found, query = [], {"limit": "3"}
    while True:
        page = (await ops.get("/api/executions", **query)).json
        assert len(page["executions"]) <= 3
        found += [execution["id"] for execution in page["executions"]]
        if page["next"] is None:
            break
        query["before"] = str(page["next"])
    assert found == ids[::-1]


async def test_a_page_reads_no_event_however_many_wait(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ops.in_every_state()
    read: list[bytes] = []
    monkeypatch.setattr(rows, "stored_trigger", read.append)
    page = (await ops.get("/api/executions")).json
    assert len(page["executions"]) == 3
    assert read == []
    monkeypatch.undo()


async def test_large_answers_that_nobody_reads_are_few_and_hold_up_no_probe(
    ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ops.finished()
    unread: list[object] = []
    reading = asyncio.Event()

    async def write_eof(*given: object) -> None:
        unread.append(given)
        await reading.wait()

    with monkeypatch.context() as patched:
        patched.setattr(web.Response, "write_eof", write_eof)
        asking = [asyncio.create_task(ops.get("/api/executions")) for _ in range(9)]
        await until(lambda: len(unread) == LARGE_ANSWERS)
    assert (await ops.get("/readyz")).status == 200
    assert len(unread) == LARGE_ANSWERS
    reading.set()
    assert {told.status for told in await asyncio.gather(*asking)} == {200}


async def test_a_crowd_on_the_ops_port_does_not_keep_events_out(ops: Ops) -> None:
    port, clients = ops.service.ops_port, list[asyncio.StreamWriter]()
    for _ in range(150):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        clients.append(writer)
    assert await ops.finished()
    refused = {"port": "ops", "reason": "full"}
    registry = ops.service.engine.runtime.metrics.registry
    assert registry.get_sample_value("remedy_http_refused_total", refused)
    for writer in clients:
        writer.close()
    await until(ops.is_answered)


async def test_new_executions_do_not_move_the_pages(ops: Ops) -> None:
    ids = [await ops.finished(id=f"t{number}") for number in range(4)]
    first = (await ops.get("/api/executions", limit="2")).json
    await ops.finished()
    second = (await ops.get("/api/executions", limit="2", before=str(first["next"]))).json
    assert [e["id"] for e in (*first["executions"], *second["executions"])] == ids[::-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "failed"),
        ("state", ""),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "٣"),
        ("limit", "9" * 5_000),
        ("before", "-1"),
        ("before", str(2**53 + 1)),
        ("waiting", "godot"),
        ("waiting", ""),
        ("before", "1; DROP TABLE executions"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_400_and_named(
    ops: Ops, name: str, value: str
) -> None:
    told = await ops.get("/api/executions", **{name: value})
    assert (told.status, told.media_type) == (400, PROBLEM)
    assert told.json["title"].startswith(f"{name} must be")


async def test_one_execution_is_told_whole(ops: Ops) -> None:
    execution_id = await ops.finished(labels={"team": "blue"})
    await ops.all_told()
    told = (await ops.get(f"/api/executions/{execution_id}")).json
    assert told["state"] == "finished"
    assert (told["status"], told["result"]) == ("succeeded", "pass")
    assert told["trigger"]["data"]["labels"] == {"team": "blue"}
    assert told["undelivered"] == []
    moments = ("accepted_at", "started_at", "finished_at", "reported_at")
    assert [told[name] for name in moments] == sorted(told[name] for name in moments)


async def test_an_id_may_hold_any_character(ops: Ops) -> None:
    odd = "a/b c?d#e%2F&ü{id}\n"
    await ops.finished(id=odd)
    async with ops.session.get(
        f"{ops_url(ops.service, '/api/executions/')}{quote(odd, safe='')}"
    ) as answer:
        assert (await answer.json())["id"] == odd


@pytest.mark.parametrize(
    "path", ["/api/executions/unknown", "/api", "/api/executions/", "/x/..x", "/x"]
)
async def test_what_is_not_there_is_404(ops: Ops, path: str) -> None:
    told = await ops.get(path)
    assert (told.status, told.media_type, told.json["status"]) == (404, PROBLEM, 404)
    assert told.json["title"]


async def test_the_actions_are_told(ops: Ops) -> None:
    told = {action["name"]: action for action in (await ops.get("/api/actions")).json["actions"]}
    assert told["greet"]["on"] is True
    assert told["greet"]["kind"] == "plain"
    assert told["greet"]["aliases"] == ["say-hello"]
    assert told["greet"]["value_schema"]["type"] == "object"


# Probes


async def test_it_is_ready_and_alive(ops: Ops) -> None:
    assert (await ops.get("/healthz")).json == {"status": "ok"}
    ready = await ops.get("/readyz")
    assert (ready.status, ready.json) == (200, {"ready": True, "reasons": [], "degraded": []})


async def test_a_parked_report_degrades_readiness_and_is_shown(ops: Ops) -> None:
    ops.keptn.answer_next(400, event_type=STARTED)
    execution_id = await ops.deliver()
    ops.keptn.expect_unanswered(execution_id)
    await ops.keptn.wait_until(lambda: len(ops.keptn.log_entries) == 1)
    ready = await ops.get("/readyz")
    assert (ready.status, ready.json["ready"], ready.json["reasons"]) == (200, True, [])
    (degraded,) = ready.json["degraded"]
    assert "reports that Keptn rejected: 2" in degraded
    undelivered = (await ops.get(f"/api/executions/{execution_id}")).json["undelivered"]
    assert [(report["kind"], report["state"]) for report in undelivered] == [
        ("started", "parked"),
        ("finished", "parked"),
    ]
    assert "answered 400" in undelivered[0]["reason"]
    assert "remedy_reports_parked 2.0" in await ops.text("/metrics")


async def test_it_is_not_ready_while_it_leaves(ops: Ops) -> None:
    ops.gate.open()
    await ops.service.drain()
    ready = await ops.get("/readyz")
    assert (ready.status, ready.json["ready"], ready.json["reasons"]) == (503, False, ["leaving"])
    assert (await ops.get("/healthz")).status == 200


# Nothing changes here


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_only_looking_is_allowed(ops: Ops, method: str, path: str) -> None:
    told = await ops.get(path, method)
    assert (told.status, told.media_type) == (405, PROBLEM)
    assert told.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", [path for path in PATHS if "{" not in path])
async def test_head_is_answered_like_get(ops: Ops, path: str) -> None:
    assert (await ops.get(path, "HEAD")).status == 200


async def test_a_service_with_a_token_takes_orders(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        FakeKeptn() as keptn,
        provider(
            tmp_path / "journal.db", keptn, Greet, operator_token_file=token(tmp_path)
        ) as service,
        ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
    ):
        ops = Ops(service, keptn, gate, session)
        reason = {"reason": "release freeze"}
        async with session.post(ops_url(service, "/api/pause"), json=reason) as answer:
            assert answer.status == 200
        refused = await ops.finished()
        async with session.post(ops_url(service, "/api/resume"), json={}) as answer:
            assert answer.status == 200
        passed = await ops.finished()
        told = [(await ops.get(f"/api/executions/{i}")).json for i in (refused, passed)]
    assert [execution["result"] for execution in told] == ["fail", "pass"]
    assert "release freeze" in told[0]["message"]


async def test_a_token_that_is_none_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REMEDY_OPERATOR_TOKEN_FILE"):
        async with provider(tmp_path / "j.db", None, operator_token_file=tmp_path / "missing"):
            pass


# Metrics

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on the PATH (Debian: prometheus)")
async def test_promtool_finds_no_fault_with_the_metrics(ops: Ops) -> None:
    await ops.in_every_state()
    ops.keptn.answer_next(503)
    await ops.deliver(service="orders")
    text = await ops.text("/metrics")
    promtool = await asyncio.create_subprocess_exec(
        PROMTOOL or "",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    complaints, _ = await promtool.communicate(text.encode())
    assert (promtool.returncode, complaints.decode()) == (0, "")


async def test_the_metrics_count_what_happened(ops: Ops) -> None:
    ids = await ops.in_every_state()
    duplicate = triggered(Greet.name, id=ids["finished"])
    await ops.keptn.deliver(duplicate, to=event_url(ops.service))
    lines = (await ops.text("/metrics")).splitlines()
    assert 'remedy_events_received_total{answer="accepted"} 3.0' in lines
    assert 'remedy_events_received_total{answer="duplicate"} 1.0' in lines
    finished = 'remedy_executions_finished_total{action="greet",result="pass",status="succeeded"}'
    assert f"{finished} 1.0" in lines
    assert "remedy_executions_open 2.0" in lines
    assert "remedy_executions_running 1.0" in lines


async def test_the_metrics_tell_since_when_the_oldest_waits(ops: Ops) -> None:
    await ops.deliver("wait")
    await ops.gate.until_entered(1)
    ages = [
        float(line.split()[1])
        for line in (await ops.text("/metrics")).splitlines()
        if line.startswith("remedy_oldest_open_execution_seconds ")
    ]
    assert 0 < ages[0] < 60
    await ops.all_told()
    lines = (await ops.text("/metrics")).splitlines()
    assert "remedy_oldest_open_execution_seconds 0.0" in lines
    assert "remedy_oldest_unsent_report_seconds 0.0" in lines


async def test_the_metrics_come_as_openmetrics_when_asked(ops: Ops) -> None:
    text = await ops.text("/metrics", Accept="application/openmetrics-text")
    assert text.endswith("# EOF\n")
