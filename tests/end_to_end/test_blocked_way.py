"""Something between the provider and Keptn refuses every report for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from keptn_remedy.events import STARTED
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock
from tests.providing import Greet, event_url, get_json, ops_url, provider
from tests.waiting import until


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 411])
async def test_every_execution_is_told_once_the_way_takes_reports_again(
    status: int, tmp_path: Path
) -> None:
    clock = MovedClock()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Greet, clock=clock) as service,
    ):
        keptn.answer_next(status, times=5, event_type=STARTED)
        events = [triggered("greet", service=f"service-{n}") for n in range(5)]
        for event in events:
            await keptn.deliver(event, to=event_url(service))

        async def is_degraded() -> bool:
            return any("every 30 s: 5: " in why for why in (await _ready(service))["degraded"])

        await until(is_degraded)
        (why,) = (await _ready(service))["degraded"]
        assert why.endswith(f"/event answered {status}")
        assert "remedy_reports_blocked 5.0" in await _metrics(service)
        clock.forward(35)
        for event in events:
            await keptn.task_finished(event["id"])
        await until(lambda: _is_healthy(service))


async def _ready(service: Service) -> Any:
    return await get_json(ops_url(service, "/readyz"))


async def _is_healthy(service: Service) -> bool:
    return bool(await _ready(service) == {"ready": True, "reasons": [], "degraded": []})


async def _metrics(service: Service) -> str:
    async with ClientSession() as session, session.get(ops_url(service, "/metrics")) as answer:
        return await answer.text()
