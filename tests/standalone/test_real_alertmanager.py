"""What must not happen, with a real Alertmanager that sends: what it repeats, and masses of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession

from tests.clocks import MovedClock
from tests.monitoring import Alertmanager, AlertmanagerProgram, webhook_config
from tests.standalone.rig import SECRET, SOURCES, Rig, Switch, standalone
from tests.waiting import until

MANY = 5_000
STORM = 40


def alert(service: str, **more: str) -> dict[str, Any]:
    labels = {"alertname": "TooManyErrors", "service": service, **more}
    return {"labels": labels, "annotations": {"description": "x" * 300}}


class Sender:
    """A real Alertmanager, which is given alerts as Prometheus gives them."""

    def __init__(self, server: Alertmanager, http: ClientSession) -> None:
        self.server, self._http = server, http

    async def fire(self, alerts: Sequence[dict[str, Any]]) -> None:
        url = f"{self.server.url}/api/v2/alerts"
        headers = {"Content-Type": "application/json"}
        body = BytesIO(orjson.dumps(alerts))
        async with self._http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def sent(self, outcome: str = "notifications_total") -> int:
        """How many messages it has sent."""
        name = f'alertmanager_{outcome}{{integration="webhook"'
        async with self._http.get(f"{self.server.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(int(float(each.split()[-1])) for each in lines if each.startswith(name))

    async def receivers(self) -> list[str]:
        """The names of the receivers of its configuration in force."""
        async with self._http.get(f"{self.server.url}/api/v2/receivers") as answer:
            return [each["name"] for each in await answer.json()]


@asynccontextmanager
async def told_by_alertmanager(
    folder: Path,
    program: AlertmanagerProgram,
    route: Mapping[str, str],
    *,
    clock: MovedClock | None = None,
    ladder: str = "",
) -> AsyncIterator[tuple[Rig, Sender]]:
    """A service that a real Alertmanager tells what it is given."""
    server = Alertmanager(folder / "am", program, {})
    sources = SOURCES.replace("{url}/am", server.url)
    sources = sources[: sources.index("ladder:")] + ladder if ladder else sources
    try:
        async with (
            standalone(folder, sources=sources, clock=clock) as rig,
            ClientSession() as http,
        ):
            hook = webhook_config(rig.intake_url(), SECRET, **route)
            hook["route"]["group_by"] = ["alertname"]
            server.configure(hook)
            await server.start()
            yield rig, Sender(server, http)
    finally:
        server.kill()


async def test_what_a_real_alertmanager_repeats_begins_nothing_again(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    often = {"group_interval": "1s", "repeat_interval": "1s"}
    async with told_by_alertmanager(tmp_path, alertmanager_program, often) as (
        rig,
        sender,
    ):
        await sender.fire([alert("carts")])
        await rig.until_acts(1)
        before = await rig.whole()
        sent = await sender.sent()

        async def is_repeated() -> bool:
            return await sender.sent() >= sent + 2

        await until(is_repeated, within_seconds=60)
        after = await rig.whole()
        assert await sender.sent("notifications_failed_total") == 0
        assert [each.number for each in after.rungs] == [0]
        assert after.members == [after.members[0]]

    assert (before.episode.id, before.episode.index) == (after.episode.id, after.episode.index)
    assert Switch.applied == ["one"]


async def test_masses_of_a_real_alertmanager_are_accepted_once_and_begin_nothing(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    seldom = {"group_interval": "1s", "repeat_interval": "1h"}
    async with told_by_alertmanager(tmp_path, alertmanager_program, seldom) as (
        rig,
        sender,
    ):
        foreign = [alert(f"s{n}", team="bank") for n in range(MANY - 1)]
        await sender.fire([*foreign, alert("s", team="../../etc")])

        async def ignored() -> dict[str, int]:
            found = await rig.journal.ignored(9)
            return {what.reason: times for what, times, _ in found}

        async def all_are_ignored() -> bool:
            return sum((await ignored()).values()) >= MANY

        await until(all_are_ignored, within_seconds=60)
        reasons = await ignored()
        assert len([each for each in reasons if "is no name" in each]) == 1
        assert await rig.episodes() == []
        # Another message of the same group comes with what is new.
        await sender.fire([alert(f"s{n}") for n in range(STORM)])

        async def all_are_known() -> bool:
            return len(await rig.episodes()) == STORM

        await until(all_are_known, within_seconds=60)
        rig.clock.forward(10)

        async def all_are_held() -> bool:
            return {each.state for each in await rig.episodes()} == {"held"}

        await until(all_are_held, within_seconds=60)
        sent = await sender.sent()
        assert await sender.sent("notifications_failed_total") == 0

    assert sent < STORM  # one for each time the group is told of, not for each problem
    assert Switch.applied == []
