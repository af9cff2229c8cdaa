"""What people say at PagerDuty. The sender is not real: bodies and signatures are made as its
documentation shows them.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from tests.standalone.rig import SECRET, SOURCES, Rig, Switch, standalone

PAGER = SOURCES.replace(
    "prometheus:",
    """  pager:
    kind: pagerduty
    secret_file: {folder}/secret
    project: {{default: sockshop}}
    stage: {{default: production}}
    service: {{label: service}}
    allow: {{projects: sockshop}}
prometheus:""",
)


async def say(rig: Rig, what: str, minute: int, *, signed: str | None = None, **data: Any) -> int:
    """A webhook about the incident, sent at that minute of an hour; returns the status."""
    incident = {"title": "[FIRING:1] TooManyErrors production", "service": {"summary": "Carts"}}
    event = {
        "event_type": what,
        "occurred_at": f"2026-03-02T12:{minute:02}:00.000Z",
        "agent": {"summary": "Ada"},
        "data": {**incident, **data},
    }
    body = orjson.dumps({"event": event})
    made = "v1=" + hmac.new(SECRET.encode(), body, sha256).hexdigest()
    assert rig.service.standalone
    url = f"http://127.0.0.1:{rig.service.standalone.listener.port}/intake/pager"
    headers = {"X-PagerDuty-Signature": f"v1=0000,{made}" if signed is None else signed}
    async with ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        rig.answer = await answer.text()
        return answer.status


async def test_who_acknowledges_an_incident_holds_the_ladder_until_it_is_resolved(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path, sources=PAGER) as rig:
        await rig.send(rig.world.fire("f1"))
        assert await say(rig, "incident.acknowledged", 1) == 202
        held = await rig.until_state("held", step=5)
        assert held.reason == "acknowledged by Ada"
        await rig.pass_by(120)
        assert Switch.applied == []
        assert await say(rig, "incident.resolved", 2) == 202
        # Sent again, as its first answer was lost: it is older than what was said since.
        assert await say(rig, "incident.acknowledged", 1) == 202
        await rig.until_acts(1)
        said = [note.text for note in await rig.notes() if "by Ada" in note.text]

    assert said == ["acknowledged by Ada", "held: acknowledged by Ada", "resolved by Ada"]


async def test_an_acknowledgement_lets_the_running_rung_end_and_begins_no_other(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path, sources=PAGER) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await say(rig, "incident.acknowledged", 1)
        await rig.until_state("held", step=5)
        [rung] = await rig.rungs()

    assert (rung.verdict, Switch.applied) == ("failed", ["one"])


async def test_with_note_it_is_only_noted(tmp_path: Path) -> None:
    sources = PAGER.replace("kind: pagerduty", "kind: pagerduty\n    on_acknowledged: note")
    async with standalone(tmp_path, sources=sources) as rig:
        await rig.send(rig.world.fire("f1"))
        await say(rig, "incident.acknowledged", 1)
        await rig.until_acts(1)
        assert "acknowledged by Ada" in [note.text for note in await rig.notes()]


async def test_an_incident_that_we_triggered_is_known_by_its_key(tmp_path: Path) -> None:
    async with standalone(tmp_path, sources=PAGER) as rig:
        await rig.send(rig.world.fire("f1"))
        [episode] = await rig.episodes()
        key = f"remedy:escalation {episode.id}"
        elsewhere: dict[str, Any] = {
            "service": {"summary": "Everything"},
            "title": "no name of ours",
        }
        assert await say(rig, "incident.acknowledged", 1, incident_key=key, **elsewhere) == 202
        [episode] = await rig.episodes()
        assert episode.acknowledged == "Ada"


@pytest.mark.parametrize(
    ("what", "data", "reason"),
    [
        ("incident.acknowledged", {"title": "Disk full"}, "no open problem of carts has its name"),
        ("incident.resolved", {"service": None}, "no service: it has no label service"),
        ("incident.annotated", {}, ""),
        ("pagey.ping", {"title": None, "service": {}}, ""),
    ],
)
async def test_what_concerns_no_open_problem_is_ignored_with_its_reason(
    tmp_path: Path, what: str, data: dict[str, Any], reason: str
) -> None:
    async with standalone(tmp_path, sources=PAGER) as rig:
        await rig.send(rig.world.fire("f1"))
        assert await say(rig, what, 1, **data) == 202
        reasons = [each.reason for each, _, _ in await rig.journal.ignored(10)]
        [episode] = await rig.episodes()

    assert episode.acknowledged is None
    assert [each[: len(reason)] for each in reasons] == ([reason] if reason else [])


async def test_what_is_not_signed_or_no_webhook_is_refused(tmp_path: Path) -> None:
    async with standalone(tmp_path, sources=PAGER) as rig:
        assert await say(rig, "incident.acknowledged", 1, signed="v1=0000") == 401
        assert await say(rig, "incident.acknowledged", 1, signed="") == 401
        assert await rig.post(b"{}", source="pager") == 401
        assert await say(rig, "incident.acknowledged", 99) == 400
        assert "event.occurred_at is no time" in rig.answer
