"""Bodies that nobody meant to send, at every kind of source: answered, and never with a 5xx."""

from __future__ import annotations

import hmac
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy.standalone.pagerduty import SIGNATURE
from tests.standalone.rig import SECRET, SOURCES, Rig, standalone

BODIES = 120
MESSAGES: dict[str, Any] = {
    "alertmanager": {
        "version": "4",
        "status": "firing",
        "truncatedAlerts": 0,
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A", "service": "s"},
                "annotations": {"summary": "x"},
                "startsAt": "2026-03-02T12:00:00Z",
                "fingerprint": "f",
                "generatorURL": "http://p",
            }
        ],
    },
    "dynatrace": {
        "PID": "1",
        "State": "OPEN",
        "ProblemTitle": "t",
        "ProblemURL": "u",
        "Tags": "keptn_service:s, keptn_stage:production, keptn_project:sockshop",
    },
    "cloudevents": {
        "specversion": "1.0",
        "id": "1",
        "source": "dynatrace",
        "type": "sh.keptn.events.problem",
        "data": {
            "project": "sockshop",
            "stage": "production",
            "service": "s",
            "problem": {"State": "OPEN", "PID": "1", "ProblemTitle": "t"},
            "State": "OPEN",
            "PID": "1",
        },
    },
}
MESSAGES["grafana"] = {**MESSAGES["alertmanager"], "version": "1", "orgId": 1, "state": "alerting"}
MESSAGES["pagerduty"] = {
    "event": {
        "id": "1",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2026-03-02T12:00:00.000Z",
        "agent": {"summary": "Ada", "type": "user_reference"},
        "data": {"title": "A of s", "service": {"summary": "S"}, "incident_key": "k"},
    }
}
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "\x00",
    "\ud7ff" * 300,
    "../../etc",
    [],
    {},
    [[[[]]]],
    {"": {"": None}},
    ["x"] * 50,
)


def spoilt(chance: random.Random, message: Any) -> Any:
    """The message with one of its parts changed, dropped or doubled."""
    copy = orjson.loads(orjson.dumps(message))
    at, name = copy, chance.choice(list(copy))
    while isinstance(at[name], dict | list) and at[name] and chance.random() < 0.7:
        at = at[name]
        name = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
    if isinstance(at, dict) and chance.random() < 0.2:
        del at[name]
    else:
        at[name] = chance.choice(STRANGE)
    return copy


def broken(chance: random.Random, message: Any) -> bytes:
    """The message as bytes that may be cut, or hold anything."""
    try:
        body = bytearray(orjson.dumps(spoilt(chance, message)))
    except TypeError:  # a number that JSON has and orjson doesn't write
        body = bytearray(b'{"alerts": 1%s}' % (b"0" * 80))
    pick = chance.random()
    if pick < 0.1:
        del body[chance.randrange(len(body)) :]
    elif pick < 0.2:
        body[chance.randrange(len(body))] = chance.randrange(256)
    elif pick < 0.23:
        return b"[" * 5000
    return bytes(body)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
async def test_no_body_makes_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    sources = SOURCES.replace("kind: alertmanager", f"kind: {kind}")
    if kind == "pagerduty":
        sources = sources.replace('    alertmanagers: ["{url}/am"]\n', "")
    elif kind != "alertmanager":
        sources = sources.replace('alertmanagers: ["{url}/am"]', "confirm: off")
    chance = random.Random(kind)  # noqa: S311
    async with standalone(tmp_path, sources=sources) as rig:
        answers = [await answered(rig, broken(chance, MESSAGES[kind])) for _ in range(BODIES)]
        assert await answered(rig, orjson.dumps(MESSAGES[kind])) == 202
    assert set(answers) == {202, 400}


async def answered(rig: Rig, body: bytes) -> int:
    signed = "v1=" + hmac.new(SECRET.encode(), body, sha256).hexdigest()
    status = await rig.post(body, **{SIGNATURE: signed})
    assert status < 500, body[:500]
    return status
