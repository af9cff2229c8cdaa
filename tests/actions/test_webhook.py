"""webhook against real HTTP peers: what is sent, what is shown, what happens once."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from keptn_remedy import Denied, Outcome, PermanentError, TemporaryError
from keptn_remedy.testing import HttpPeer, http_peer, run_action, triggered
from keptn_remedy_actions.http_calls.templates import compiled, variables
from keptn_remedy_actions.webhook import Webhook, WebhookSettings
from tests.actions.driving import Driven, driven

TOKEN = "t0p-secret/token"
PAGE = Path(__file__).parents[2] / "docs/actions/webhook.md"


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "key").write_text("k3y-of-hooks")
    return tmp_path


def settings(secrets: Path | None = None, **others: Any) -> WebhookSettings:
    given = {"hosts": "127.0.0.1", "loopback_hosts": "127.0.0.1", **others}
    return WebhookSettings(secrets_dir=secrets, **given)


@asynccontextmanager
async def driving(secrets: Path | None = None, **others: Any) -> AsyncIterator[Driven]:
    action = Webhook(settings(secrets, **others))
    async with driven(action) as drive:
        yield drive
    await action.close()


async def ran(value: Any, secrets: Path | None = None, **data: Any) -> Outcome:
    event = triggered("webhook", value, **data)
    return await run_action(Webhook, settings=settings(secrets), event=event)


def sent(peer: HttpPeer) -> list[str]:
    return [f"{request.method} {request.path}" for request in peer.requests]


async def test_templates_are_filled_in_from_the_trigger(peer: HttpPeer) -> None:
    value = {
        "url": f"{peer.url}/hooks/{{{{ service }}}}?why={{{{ problem.ProblemTitle | urlencode }}}}",
        "headers": {"X-Stage": "{{ data.stage | upper }}", "X-Number": 7},
        "body": {"text": "{{ project }} is ill", "labels": ["{{ labels.team | default('?') }}", 3]},
    }
    outcome = await ran(value, labels={"team": "shop"})
    [request] = peer.requests
    assert (request.method, request.path) == ("POST", "/hooks/carts")
    assert request.query == {"why": "Failure rate increase"}
    assert request.headers["X-Stage"] == "PRODUCTION"
    assert request.headers["X-Number"] == "7"
    assert request.headers["Content-Type"] == "application/json"
    assert request.json == {"text": "sockshop is ill", "labels": ["shop", 3]}
    assert outcome == Outcome.passed(f"{peer.url}/hooks/carts: sent, answered 200", status="200")


async def test_a_text_is_sent_as_it_is_and_fields_are_never_methods(peer: HttpPeer) -> None:
    body = '{"values": {{ data.values | tojson }}, "items": {{ data.items | tojson }}}'
    await ran({"url": peer.url, "body": body}, values=["a"], items={"b": True})
    assert peer.requests[0].json == {"values": ["a"], "items": {"b": True}}


async def test_a_dry_run_sends_nothing_and_shows_the_request(peer: HttpPeer, secrets: Path) -> None:
    value = {
        "url": f"{peer.url}/purge?key={{{{ secret.token }}}}",
        "headers": {"Authorization": "Bearer {{ secret['hooks/key'] }}"},
        "body": "{{ service }}",
    }
    event = triggered("webhook", value)
    outcome = await run_action(Webhook, settings=settings(secrets), event=event, dry_run=True)
    assert peer.requests == []
    assert f"{peer.url}/purge request: not sent -> POST" in outcome.message
    assert "Bearer <secret hooks/key>" in outcome.message
    assert "carts" in outcome.message
    assert TOKEN not in outcome.message


async def test_secrets_are_sent_and_are_in_no_plan_message_or_memory(
    peer: HttpPeer, secrets: Path
) -> None:
    value = {
        "url": peer.url,
        "headers": {
            "Authorization": "Basic {{ ('me:' ~ secret.token) | b64encode }}",
            "X-Token": "{{ secret.token }}",
        },
    }
    async with driving(secrets) as drive:
        plan = await drive.plan(value)
        peer.answer(404, json={"echo": "Basic bWU6dDBwLXNlY3JldC90b2tlbg== t0p-secret/token"})
        with pytest.raises(PermanentError) as caught:
            await drive.apply(plan)
        kept = str(getattr(drive.context.memory, "values"))  # noqa: B009  a Protocol has none
    assert peer.requests[0].headers["X-Token"] == TOKEN
    assert peer.requests[0].headers["Authorization"] == "Basic bWU6dDBwLXNlY3JldC90b2tlbg=="
    assert "answered 404, and 2xx was expected" in str(caught.value)
    for text in (plan.to_json().decode(), str(caught.value), kept):
        assert "t0p" not in text
        assert "bWU6dDBw" not in text


async def test_a_refusal_shows_no_secret_that_a_template_made_a_host(secrets: Path) -> None:
    host = "{{ '127.0.0.1' if secret.token == '<secret token>' else secret['hooks/key'] }}"
    outcome = await ran({"url": f"http://{host}/"}, secrets)
    assert "WEBHOOK_HOSTS does not allow ********:80" in outcome.message


async def test_a_secret_in_a_path_is_masked(peer: HttpPeer, secrets: Path) -> None:
    (secrets / "token").write_text("a/b c=d")
    peer.answer(404)
    outcome = await ran({"url": f"{peer.url}/{{{{ secret.token }}}}"}, secrets)
    assert f"POST {peer.url}/******** answered 404" in outcome.message


@pytest.mark.parametrize("template", ["{{ x }}" * 900, "{{ x" + " | tojson" * 16 + " }}"])
def test_what_a_template_renders_to_is_bounded(template: str) -> None:
    with pytest.raises(PermanentError, match=r"to more than 1,048,576|ValueError"):
        compiled(template).render(variables({"x": "\\" * 2_000}))


@pytest.mark.parametrize(
    "value",
    [
        {"headers": {"Authorization": "Bearer {{ secret.token }}"}},
        {"body": {"of": ["{{ secret['token'] | b64encode }}"]}},
        {"hmac": {"secret": "token"}, "body": "x"},
        {"verify": {"url": "http://127.0.0.1/?key={{ secret.token }}"}},
        {"undo": {"url": "http://127.0.0.1/", "body": "{{ secret.token }}"}},
    ],
)
async def test_a_secret_that_is_named_for_one_host_goes_to_no_other(
    peer: HttpPeer, secrets: Path, value: Any
) -> None:
    pairs = "token=cdn.example.com, token=*.cdn.example.com, hooks/*=127.0.0.1"
    given = settings(secrets, secret_hosts=pairs)
    outcome = await run_action(Webhook, {"url": peer.url, **value}, settings=given)
    assert outcome.status == "succeeded"
    assert outcome.result == "fail"
    assert "the secret token may go to cdn.example.com, *.cdn.example.com only" in outcome.message
    assert not peer.requests


async def test_a_host_gets_the_secrets_that_are_named_for_it_and_those_that_are_for_none(
    peer: HttpPeer, secrets: Path
) -> None:
    given = settings(secrets, secret_hosts="hooks/*=127.0.0.1")
    value = {"url": peer.url, "body": "{{ secret['hooks/key'] }} {{ secret.token }}"}
    assert (await run_action(Webhook, value, settings=given)).result == "pass"
    assert peer.requests[0].body == f"k3y-of-hooks {TOKEN}".encode()


async def test_where_a_secret_goes_is_checked_again_when_it_is_sent(
    peer: HttpPeer, secrets: Path
) -> None:
    value = {"url": peer.url, "body": "{{ secret.token }}"}
    async with driving(secrets) as drive:
        plan = await drive.plan(value)
    async with driving(secrets, secret_hosts="token=cdn.example.com") as drive:
        with pytest.raises(Denied, match=r"may go to cdn\.example\.com only"):
            await drive.apply(plan)
    assert not peer.requests


@pytest.mark.parametrize("pairs", ["token", "token=", "=a.example.com", "token=http://a", "a=b=*"])
def test_bad_pairs_of_secrets_and_hosts_turn_it_off(pairs: str) -> None:
    with pytest.raises(ValidationError):
        settings(secret_hosts=pairs)


async def test_a_body_is_signed(peer: HttpPeer, secrets: Path) -> None:
    await ran({"url": peer.url, "body": {"a": 1}, "hmac": {"secret": "token"}}, secrets)
    [request] = peer.requests
    expected = hmac.new(TOKEN.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Hub-Signature-256"] == f"sha256={expected}"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://127.0.0.1/", "headers": {"X": "{{ secret[labels.which] }}"}}, "named in the"),
    ({"url": "http://127.0.0.1/", "body": "{% for i in [1] %}{% endfor %}"}, "expressions only"),
    ({"url": "http://127.0.0.1/", "body": "{{ 'a' * 1000000000 }}"}, "expressions only, no Mul"),
    ({"url": "http://127.0.0.1/", "body": "{{ 9 ** 999999999 }}"}, "expressions only, no Pow"),
    ({"url": "http://127.0.0.1/", "body": "{{ data.__class__.mro() }}"}, "no Call"),
    ({"url": "http://127.0.0.1/", "body": "{{ '' | attr('x') }}"}, "no filter 'attr'"),
    ({"url": "http://127.0.0.1/", "body": "{{ range(9) }}"}, "no Call"),
    ({"url": "http://127.0.0.1/", "body": "{{ 'x' | center(99999999) }}"}, "no filter 'center'"),
    ({"url": "http://127.0.0.1/", "body": "{{ unclosed"}, "is not a template"),
    ({"url": "http://127.0.0.1/", "body": "{{ '" + "x" * 70_000 + "' }}"}, "at most 65,536"),
    ({"url": "http://127.0.0.1/", "body": "{{ data" + " | tojson" * 40 + " }}"}, "at most 16"),
    ({"url": "http://127.0.0.1/", "body": "{{ data" + " ~ data" * 20 + " }}"}, "joins at most 20"),
    ({"url": "http://127.0.0.1/", "body": ["{{ data }}" * 600] * 2}, "more than 1,000 names"),
    ({"url": "http://127.0.0.1/", "method": "GET / HTTP/1.1"}, "is no method"),
    ({"url": "http://127.0.0.1/", "headers": {"Host": "evil"}}, "Host can't be set"),
    ({"url": "http://127.0.0.1/", "headers": {"A\r\nB": "x"}}, "not the name of a header"),
    ({"url": "http://127.0.0.1/", "expect": {"status": "fine"}}, "is no status"),
    ({"url": "http://127.0.0.1/", "expect": {"json": {"state": 1}}}, "is not a path"),
    ({"url": "http://127.0.0.1/", "timeout": 0}, "must be more than 0"),
    ({"url": "http://127.0.0.1/", "hmac": {"secret": ""}}, "at least 1"),
    ({"url": "http://127.0.0.1/", "metod": "GET"}, "metod"),
    ({"url": "http://127.0.0.1/", "file": "a.http"}, "`url` or `file`"),
    ({"url": "http://127.0.0.1/", "verify": {"url": ""}}, "at least 1"),
]


@pytest.mark.parametrize(("value", "message"), BAD, ids=[message for _, message in BAD])
async def test_a_bad_value_is_refused_before_anything_is_sent(
    value: dict[str, Any], message: str
) -> None:
    outcome = await ran(value)
    assert outcome.status == "errored"
    assert message in outcome.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"url": "http://127.0.0.1/{{ labels.gone }}"}, "has no attribute 'gone'"),
        ({"url": "http://127.0.0.1/", "headers": {"X": "{{ data.lines }}"}}, "more than one line"),
        ({"url": "http://127.0.0.1/{{ secret.token }}"}, "WEBHOOK_SECRETS_DIR is not set"),
        ({"url": "http://127.0.0.1/", "body": "{{ data.big }}"}, "the body would have 300,000"),
        ({}, "the value has no `url`, and Keptn has no file generic-executor/"),
    ],
)
async def test_an_event_that_does_not_fit_is_told(value: dict[str, Any], message: str) -> None:
    outcome = await ran(value, lines="a\r\nX-Evil: 1", big="x" * 300_000)
    assert (outcome.status, message in outcome.message) == ("errored", True), outcome


@pytest.mark.parametrize("name", ["../token", "hooks/../token", "/etc/passwd", "a/b/c", "..", ""])
async def test_a_secret_is_a_file_of_its_folder(secrets: Path, name: str) -> None:
    outcome = await ran(
        {"url": "http://127.0.0.1/", "body": f"{{{{ secret['{name}'] }}}}"}, secrets
    )
    assert outcome.status == "errored"
    assert "secret" in outcome.message


async def test_what_looks_like_a_template_in_an_event_stays_text(
    peer: HttpPeer, secrets: Path
) -> None:
    labels = {"evil": "{{ secret.token }}"}
    await ran({"url": peer.url, "body": "{{ labels.evil }}"}, secrets, labels=labels)
    assert peer.requests[0].body == b"{{ secret.token }}"


async def test_a_host_that_is_not_allowed_is_a_refusal() -> None:
    outcome = await ran({"url": "http://hooks.example.com/"})
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert "WEBHOOK_HOSTS does not allow hooks.example.com:80" in outcome.message


async def test_loopback_needs_its_own_setting(peer: HttpPeer) -> None:
    made = WebhookSettings(hosts="127.0.0.1, localhost")
    for url in (peer.url, peer.url.replace("127.0.0.1", "localhost")):
        outcome = await run_action(Webhook, {"url": url}, settings=made)
        assert "which is this machine: no request is sent there" in outcome.message
    assert peer.requests == []


# --- what an answer must be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "answer", "contrary"),
    [
        ({"status": 204}, {"status": 204}, ""),
        ({"status": ["2xx", 409]}, {"status": 409}, ""),
        ({"status": [200, 201]}, {"status": 204}, "answered 204, and 200 or 201 was expected"),
        ({}, {"status": 302}, "answered 302, a redirect, which is not followed"),
        (
            {},
            {"status": 418, "body": b"no\x1b[31m tea"},
            "answered 418, and 2xx was expected: no [31m",
        ),
        ({"json": {"$.state": "ok"}}, {"json": {"state": "ok"}}, ""),
        ({"json": {"$['a b'][-1].n": 2}}, {"json": {"a b": [1, {"n": 2}]}}, ""),
        ({"json": {"$.state": "ok"}}, {"json": {"state": 1}}, 'has 1 at $.state, and "ok" was'),
        ({"json": {"$.x[3]": 1}}, {"json": {"x": []}}, "has nothing at $.x[3], and 1 was expected"),
        ({"json": {"$.on": True}}, {"json": {"on": 1}}, "has 1 at $.on, and true was expected"),
        ({"json": {"$.a": 1}}, {"body": b"<html>"}, "answered 200 without JSON"),
    ],
)
async def test_an_answer_must_be_as_expected(
    peer: HttpPeer, expect: Any, answer: Any, contrary: str
) -> None:
    peer.answer(**answer)
    outcome = await ran({"url": peer.url, "expect": expect})
    assert (outcome.status == "succeeded") == (not contrary), outcome
    assert contrary in outcome.message
    assert len(peer.requests) == 1


async def test_what_was_not_taken_is_sent_again(peer: HttpPeer) -> None:
    peer.answer(503, headers={"Retry-After": "7"})
    async with driving() as drive:
        plan = await drive.plan({"url": peer.url})
        with pytest.raises(TemporaryError, match="answered 503") as caught:
            await drive.apply(plan)
        assert caught.value.delay == 7
        await drive.apply(plan)
    assert len(peer.requests) == 2
    keys = {request.headers["Idempotency-Key"] for request in peer.requests}
    assert len(keys) == 1


@pytest.mark.parametrize("trouble", ["drop", "500", "503", "hold"])
async def test_a_request_that_may_have_had_its_effect_is_not_repeated(
    peer: HttpPeer, trouble: str
) -> None:
    peer.drop_next() if trouble == "drop" else peer.answer(503 if trouble == "503" else 500)
    value = {"url": peer.url, "timeout": 0.2}
    if trouble == "hold":
        with peer.hold():
            outcome = await ran(value)
    else:
        outcome = await ran(value)
    assert outcome.status == "errored"
    assert "may have had its effect, so it is not sent again" in outcome.message
    assert len(peer.requests) == 1


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
NO_HTTP = b"220 mail.example.com ESMTP\r\n"


@asynccontextmanager
async def answering(first: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """A server whose first answer is these bytes, and the next ones good ones; what it was sent."""
    lines: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n")).decode().rpartition(" ")[0])
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        writer.write(first if len(lines) == 1 else good)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()), lines


@pytest.mark.parametrize("answer", [CUT, NO_HTTP], ids=["cut", "no HTTP"])
async def test_an_answer_that_is_cut_or_no_http_is_one_that_was_lost(answer: bytes) -> None:
    async with answering(answer) as (url, lines):
        outcome = await ran({"url": url})
        assert "may have had its effect, so it is not sent again" in outcome.message
    async with answering(answer) as (url, lines):
        assert (await ran({"url": url, "method": "PUT"})).result == "pass"
        assert lines == ["PUT /", "PUT /"]
    async with answering(answer) as (url, lines):
        assert (await ran({"url": url, "verify": {"url": f"{url}/state"}})).result == "pass"
        assert lines == ["POST /", "GET /state"]


async def test_what_was_taken_with_another_answer_than_expected_is_undone(peer: HttpPeer) -> None:
    peer.answer(json={"state": "partly"})
    value = {"url": peer.url, "expect": {"json": {"$.state": "done"}}}
    outcome = await ran({**value, "undo": {"url": f"{peer.url}/undo"}})
    assert 'has "partly" at $.state, and "done" was expected' in outcome.message
    assert outcome.message.endswith("; undone")
    assert sent(peer) == ["POST /", "POST /undo"]


async def test_an_undo_that_was_taken_with_another_answer_is_not_sent_again(
    peer: HttpPeer,
) -> None:
    undo = {"url": f"{peer.url}/undo", "expect": {"status": 204}}
    async with driving() as drive:
        plan = await drive.plan({"url": peer.url, "undo": undo})
        await drive.apply(plan)
        with pytest.raises(PermanentError, match="answered 200, and 204 was expected"):
            await drive.undo(plan)
        with pytest.raises(PermanentError, match="look whether it took effect"):
            await drive.undo(plan)
    assert sent(peer) == ["POST /", "POST /undo"]


@pytest.mark.parametrize("how", [{"method": "PUT"}, {"idempotent": True}])
async def test_what_may_be_repeated_is(peer: HttpPeer, how: dict[str, Any]) -> None:
    peer.drop_next()
    outcome = await ran({"url": peer.url, **how})
    assert outcome.result == "pass"
    assert len(peer.requests) == 2


async def test_verify_tells_what_a_lost_answer_could_not(peer: HttpPeer) -> None:
    peer.drop_next()
    peer.answer(json={"state": "purging"})
    peer.answer(json={"state": "done"})
    check = {"url": f"{peer.url}/state", "expect": {"json": {"$.state": "done"}}}
    outcome = await ran({"url": peer.url, "verify": check})
    assert outcome.result == "pass"
    assert sent(peer) == ["POST /", "GET /state", "GET /state"]


# --- killed between the steps --------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("writes", [0, 1, 2], ids=["before", "unanswered", "answered"])
async def test_a_kill_at_any_moment_has_one_effect(peer: HttpPeer, writes: int) -> None:
    """The process is killed after so many writes to the journal; the next one goes on."""
    async with driving() as drive:
        plan = await drive.plan({"url": peer.url, "verify": {"url": f"{peer.url}/state"}})
        left, memory = writes, drive.context.memory

        async def put(key: str, value: Any) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            await memory.put(key, value)

        dying = SimpleNamespace(get=memory.get, put=put)
        with suppress(Killed):
            await replace(drive, context=replace(drive.context, memory=dying)).apply(plan)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
    assert sent(peer) == ["POST /", "GET /state"]


async def test_a_call_that_was_made_is_not_made_again_with_those_after_it(peer: HttpPeer) -> None:
    config = """
        apiVersion: webhookconfig.keptn.sh/v1beta1
        kind: WebhookConfig
        metadata: {name: hooks}
        spec:
          webhooks:
            - type: sh.keptn.event.action.triggered
              requests:
                - {url: "URL/1", method: POST, payload: a}
                - {url: "URL/2", method: POST, payload: b}
    """.replace("URL", peer.url)
    peer.answer()
    peer.answer(503, headers={"Retry-After": "0"})
    files = {"webhook/webhook.yaml": config}
    outcome = await run_action(Webhook, {}, settings=settings(), resources=files)
    assert outcome.result == "pass", outcome
    assert sent(peer) == ["POST /1", "POST /2", "POST /2"]


# --- undo ----------------------------------------------------------------------------------------


def undoable(peer: HttpPeer) -> dict[str, Any]:
    return {
        "url": f"{peer.url}/drain",
        "verify": {
            "url": f"{peer.url}/state",
            "expect": {"json": {"$.drained": True}},
            "seconds": 0.3,
        },
        "undo": {"url": f"{peer.url}/fill"},
    }


async def test_an_undo_is_the_request_that_the_value_names_and_sent_once(peer: HttpPeer) -> None:
    async with driving() as drive:
        plan = await drive.plan(undoable(peer))
        await drive.apply(plan)
        peer.answer(json={"drained": True}, times=2)
        assert (await drive.verify(plan)).result == "pass"
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "undone"
    assert sent(peer) == ["POST /drain", "GET /state", "GET /state", "POST /fill"]


async def test_what_somebody_changed_since_is_left_alone(peer: HttpPeer) -> None:
    async with driving() as drive:
        plan = await drive.plan(undoable(peer))
        await drive.apply(plan)
        peer.answer(json={"drained": False})
        with pytest.raises(Denied, match="not as it was left, so nothing is undone"):
            await drive.undo(plan)
    assert "POST /fill" not in sent(peer)


async def test_an_effect_that_does_not_hold_is_undone(peer: HttpPeer) -> None:
    peer.answer()
    peer.answer(json={"drained": False}, times=None)
    outcome = await ran(undoable(peer))
    assert outcome.result == "fail"
    assert "has false at $.drained, and true was expected" in outcome.message


async def test_without_an_undo_it_says_so(peer: HttpPeer) -> None:
    async with driving() as drive:
        plan = await drive.plan({"url": peer.url})
        await drive.apply(plan)
        with pytest.raises(Denied, match="can't be taken back: its value has no `undo`"):
            await drive.undo(plan)


async def test_what_was_refused_needs_no_undo(peer: HttpPeer) -> None:
    peer.answer(400)
    outcome = await ran({"url": peer.url, "undo": {"url": f"{peer.url}/undo"}})
    assert outcome.message.endswith("; there was nothing to undo")
    assert sent(peer) == ["POST /"]


# --- the page ------------------------------------------------------------------------------------


async def test_the_remediation_of_the_page_runs(peer: HttpPeer, secrets: Path) -> None:
    text = PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    remediation = yaml.safe_load(text.replace("https://cdn.example.com", peer.url))
    [action] = remediation["spec"]["remediations"][0]["actionsOnOpen"]
    (secrets / "cdn-token").write_text("of-the-cdn")
    peer.answer(202)
    peer.answer(json={"state": "purged"})
    event = triggered(action["action"], action["value"])
    outcome = await run_action(Webhook, settings=settings(secrets), event=event)
    assert outcome.result == "pass", outcome
    assert sent(peer) == ["POST /zones/carts/purge", "GET /zones/carts"]
