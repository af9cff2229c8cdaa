"""Messages of Grafana, Dynatrace and CloudEvents. The senders are not real: the bodies and
signatures are made as their documentation shows them.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from keptn_remedy.journal import SeenAlert
from keptn_remedy.standalone.alertmanager import BadMessage
from keptn_remedy.standalone.mapping import placed
from keptn_remedy.standalone.messages import is_signed, read
from keptn_remedy.standalone.sources import SourcesFile
from tests.standalone.rig import SECRET, SOURCES, standalone

KEPTN: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "dynatrace-service",
    "type": "sh.keptn.events.problem",
    "shkeptncontext": "2d383430-3136-4433-b835-313731303238",
    "data": {
        "project": "webshop",
        "stage": "prod",
        "service": "checkout",
        "State": "OPEN",
        "PID": "-84_1V2",
        "ProblemTitle": "CPU saturation",
        "ProblemURL": "https://tenant/problem",
    },
}
STRUCTURED = CIMultiDict({"Content-Type": "application/cloudevents+json"})


def one(kind: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
    [alert] = read(kind, headers or {}, orjson.dumps(body)).alerts
    return alert


@pytest.mark.parametrize(
    ("state", "fires"), [("OPEN", True), ("RESOLVED", False), ("MERGED", False), ("CLOSED", False)]
)
def test_a_problem_of_dynatrace_is_known_by_its_pid(state: str, fires: bool) -> None:
    tags = "keptn_project:webshop, keptn_stage:prod, keptn_service:checkout, other"
    sent = {"PID": "7", "ProblemTitle": "Slow", "State": state, "Tags": tags}
    alert = one("dynatrace", sent)
    assert (alert.fingerprint, alert.is_firing, alert.names) == ("7", fires, ("Slow",))
    assert alert.labels["keptn_service"] == "checkout"


@pytest.mark.parametrize(
    "kind", ["sh.keptn.events.problem", "sh.keptn.event.prod.remediation.triggered"]
)
def test_a_problem_event_of_keptn_names_its_place(kind: str) -> None:
    data: dict[str, Any] = dict(KEPTN["data"])
    if kind != "sh.keptn.events.problem":
        data = {**data, "problem": {"problemTitle": "CPU saturation", "PID": "-84_1V2"}}
    alert = one("cloudevents", {**KEPTN, "type": kind, "data": data}, STRUCTURED)
    assert alert.names == ("CPU saturation",)
    assert (alert.fingerprint, alert.labels["keptn_project"]) == ("-84_1V2", "webshop")
    assert alert.is_firing


@pytest.mark.parametrize(("what", "fires"), [("detected", True), ("resolved", False)])
def test_an_incident_of_cdevents_names_environment_and_service(what: str, fires: bool) -> None:
    content = {"environment": {"id": "prod"}, "service": {"id": "carts"}, "description": "Slow"}
    event = {
        **{name: KEPTN[name] for name in ("specversion", "id", "source")},
        "type": f"dev.cdevents.incident.{what}.0.2.0",
        "data": {"context": {}, "subject": {"id": "i-1", "content": content}},
    }
    alert = one("cloudevents", event, STRUCTURED)
    assert (alert.fingerprint, alert.is_firing, alert.names) == ("i-1", fires, ("Slow",))
    assert (alert.labels["keptn_stage"], alert.labels["keptn_service"]) == ("prod", "carts")


def test_the_end_of_a_problem_is_that_of_its_beginning_whatever_its_tags() -> None:
    text = SOURCES.format(folder="/nowhere", url="http://nowhere").replace(
        "kind: alertmanager", "kind: dynatrace"
    )
    text = text.replace('alertmanagers: ["http://nowhere/am"]', "confirm: off")
    rules = SourcesFile.load(text.replace("label: service", "label: keptn_service")).sources["shop"]
    began = {"PID": "7", "State": "OPEN", "Tags": "keptn_service:checkout"}
    opened, ended = (
        placed("shop", rules, one("dynatrace", sent))
        for sent in (began, {"PID": "7", "State": "RESOLVED", "Tags": ""})
    )
    assert isinstance(opened, SeenAlert)
    assert isinstance(ended, SeenAlert)
    assert (opened.key, opened.service, ended.key) == ("7", "checkout", "7")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("dynatrace", b"[]"),
        ("dynatrace", b'{"State": "OPEN"}'),
        ("dynatrace", b"{"),
        ("cloudevents", b"{}"),
        ("grafana", b'{"alerts": [1]}'),
        ("alertmanager", b'{"alerts": [{"status": "odd", "fingerprint": "f"}]}'),
        ("alertmanager", b'{"alerts": [{"status": "firing"}]}'),
    ],
)
def test_what_is_no_message_of_its_kind_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(BadMessage):
        read(kind, STRUCTURED, body)


def test_a_signature_is_of_the_bytes_and_of_now() -> None:
    body, now = b'{"a": 1}', 1_700_000_000.0

    def made(signed: bytes) -> str:
        return hmac.new(SECRET.encode(), signed, sha256).hexdigest()

    assert is_signed(SECRET, body, made(body), None, now)
    assert not is_signed(SECRET, body + b" ", made(body), None, now)
    assert not is_signed(SECRET, body, "", None, now)
    stamped = made(b"1700000000:" + body)
    assert is_signed(SECRET, body, stamped, "1700000000", now + 299)
    assert not is_signed(SECRET, body, stamped, "1700000000", now + 301)
    assert not is_signed(SECRET, body, stamped, "", now)


async def test_grafana_signs_its_messages_and_a_rule_without_data_opens_nothing(
    tmp_path: Path,
) -> None:
    sources = SOURCES.replace("kind: alertmanager", "kind: grafana").replace(
        'alertmanagers: ["{url}/am"]',
        "confirm: off\n    signature_header: X-Grafana-Alerting-Signature\n"
        "    timestamp_header: X-Grafana-Alerting-Timestamp",
    )
    async with standalone(tmp_path, sources=sources) as rig, ClientSession() as http:
        assert rig.service.standalone
        url = f"http://127.0.0.1:{rig.service.standalone.listener.port}/intake/shop"
        no_data = rig.world.fire("f2", alertname="DatasourceNoData")
        message = {"version": "1", "alerts": [rig.world.fire("f1"), no_data], "orgId": 1}
        body, at = orjson.dumps(message), str(int(time.time()))
        signed = hmac.new(SECRET.encode(), f"{at}:".encode() + body, sha256).hexdigest()
        headers = {"X-Grafana-Alerting-Timestamp": at}
        async with http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 401
        headers["X-Grafana-Alerting-Signature"] = signed
        async with http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 202
        assert len(await rig.episodes()) == 1


async def test_an_event_that_is_delivered_again_after_the_end_of_its_problem_begins_nothing(
    tmp_path: Path,
) -> None:
    sources = SOURCES.replace("kind: alertmanager", "kind: cloudevents").replace(
        'alertmanagers: ["{url}/am"]', "confirm: off"
    )
    sources = sources.replace("label: service", "label: keptn_service")
    began = {**KEPTN, "time": "2026-03-02T12:00:00Z"}
    ended = {**began, "id": "2", "data": {**KEPTN["data"], "State": "CLOSED"}}
    once_more = {**began, "id": "3", "time": "2026-03-02T12:09:00Z"}
    async with standalone(tmp_path, sources=sources) as rig:

        async def post(event: Any) -> bool:
            kind = {"Content-Type": "application/cloudevents+json"}
            assert await rig.post(orjson.dumps(event), **kind) == 202
            [episode] = await rig.episodes()
            return episode.is_firing

        assert await post(began)
        assert not await post(ended)
        assert not await post(began)
        assert await post(once_more)


@pytest.mark.parametrize("kind", ["cloudevents", "dynatrace", "grafana"])
async def test_an_end_that_overtakes_its_beginning_begins_nothing(
    tmp_path: Path, kind: str
) -> None:
    async with standalone(tmp_path, sources=unlisted(kind)) as rig:

        async def post(state: str, at: str, problem: str = "7") -> int:
            """The number of episodes after a message of that state."""
            headers, body = told(kind, state, at, problem)
            assert await rig.post(orjson.dumps(body), **headers) == 202
            return len(await rig.episodes())

        assert await post("CLOSED", "2026-03-02T12:05:00Z") == 0
        # Delivered twice, as all is that is repeated.
        began = "2026-03-02T12:05:00Z" if kind == "grafana" else "2026-03-02T12:00:00+00:00"
        assert [await post("OPEN", began) for _ in range(2)] == [0, 0]
        assert await post("OPEN", began, "8") == 1
        [(ignored, times, _)] = await rig.journal.ignored(9)
        assert ignored.reason.startswith("it ended before it was told that it began: ")
        assert times == 1
        if kind != "dynatrace":  # it tells no times
            assert await post("OPEN", "2026-03-02T12:06:00Z") == 2
        else:
            rig.clock.forward(3601)
            assert await post("OPEN", began) == 2


def unlisted(kind: str) -> str:
    """Sources of a kind that nobody can be asked about."""
    sources = SOURCES.replace("kind: alertmanager", f"kind: {kind}").replace(
        'alertmanagers: ["{url}/am"]', "confirm: off"
    )
    label = "service" if kind == "grafana" else "keptn_service"
    return sources.replace("label: service", f"label: {label}")


def told(kind: str, state: str, at: str, problem: str) -> tuple[dict[str, str], Any]:
    """The headers and the body of a message."""
    if kind == "grafana":
        alert = {
            "status": "firing" if state == "OPEN" else "resolved",
            "labels": {"alertname": "Slow", "service": f"carts-{problem}"},
            "startsAt": at,
            "fingerprint": problem,
        }
        return {}, {"version": "1", "alerts": [alert]}
    if kind == "dynatrace":
        return {}, {"PID": problem, "State": state, "Tags": "keptn_service:checkout"}
    data = {**KEPTN["data"], "PID": problem, "State": state}
    event = {**KEPTN, "id": f"{problem} {state} {at}", "time": at, "data": data}
    return {"Content-Type": "application/cloudevents+json"}, event


async def test_an_alert_that_cannot_be_read_keeps_out_no_other_one(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        sound = rig.world.fire("f1")
        bad: list[Any] = [
            {**sound, "fingerprint": 7, "labels": {"alertname": "Odd"}},
            {**sound, "status": "unheard of"},
            "no object",
        ]
        assert await rig.send(bad[0], sound, *bad[1:]) == 202
        assert orjson.loads(rig.answer) == {"alerts": 4, "ignored": 3}
        assert len(await rig.episodes()) == 1
        ignored = {(each.name, each.reason) for each, _, _ in await rig.journal.ignored(10)}
        assert await rig.send(*bad) == 400

    assert ignored == {
        ("Odd", "an alert has no fingerprint"),
        ("TooManyErrors", "an alert's status must be firing or resolved"),
        ("", "an alert must be an object"),
    }
