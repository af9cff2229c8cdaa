"""What an Alertmanager lists, read one alert at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from keptn_remedy.standalone import listings
from keptn_remedy.standalone.alertmanager import Alertmanagers, Listed
from tests.standalone.rig import standalone


def listed(fingerprint: str, state: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "labels": {"alertname": "Slow", "service": "carts"},
        "status": {"state": state},
        "receivers": [{"name": "remedy"}],
        **more,
    }


@pytest.mark.parametrize("option", [0, orjson.OPT_INDENT_2])
async def test_what_is_listed_for_us_fires_or_is_suppressed_however_it_is_laid_out(
    option: int,
) -> None:
    alerts = [
        listed("a"),
        listed("b", "suppressed"),
        listed("c", receivers=[{"name": "another"}]),
        listed("d", labels={"alertname": "[,]}", "service": "carts"}),
    ]
    found = await asked(orjson.dumps(alerts, option=option) + b"\n")
    assert found
    assert (found.firing, found.suppressed) == (frozenset("ad"), frozenset("b"))
    assert [each.fingerprint for each in found.alerts(but={"a"})] == ["d"]
    assert not [*found.alerts(but={"a", "d"})]


async def test_an_empty_list_lists_nothing() -> None:
    found = await asked(b" [ ]\n")
    assert found
    assert found.says(frozenset("a")) == "absent"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[", b"[{}", b"[1]", b"[{},]", b"[] []", b"[{} {}]", b"[" * 100_000],
)
async def test_what_is_no_list_of_alerts_is_no_answer(body: bytes) -> None:
    assert await asked(body) is None


async def test_many_that_nobody_told_are_stored_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "STORED_AT_ONCE", 2)
    async with standalone(tmp_path) as rig:
        for number in range(2):  # a whole portion that is ignored does not end it
            rig.world.fire(f"ignored {number}", service="No Name")
        for number in range(5):
            rig.world.fire(f"f{number}", service=f"carts-{number}")

        async def all_are_there() -> bool:
            return len(await rig.episodes()) == 5

        await rig.until_true(all_are_there)
        assert {each.service for each in await rig.episodes()} == {f"carts-{n}" for n in range(5)}


async def asked(body: bytes) -> Listed | None:
    """What is read of an Alertmanager that answers this."""

    async def alerts(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"uptime": "2020-01-01T00:00:00Z"})

    app = web.Application()
    app.router.add_get("/api/v2/alerts", alerts)
    app.router.add_get("/api/v2/status", status)
    async with TestServer(app) as server, ClientSession() as http:
        return await Alertmanagers(http, [str(server.make_url(""))], "remedy", time.time).listed()
