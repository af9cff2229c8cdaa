"""What must not happen, with a real Alertmanager: news that comes late, half, or never."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from keptn_remedy.journal import JournalError, Taken
from keptn_remedy.journal.episodes import SqlEpisodes
from keptn_remedy.standalone.configuration import OneSource
from keptn_remedy.standalone.intake import AlertIntake, StoredMessage
from tests.clocks import MovedClock
from tests.monitoring import Alertmanager, AlertmanagerProgram, webhook_config
from tests.standalone.rig import SECRET, SOURCES, Rig, Switch, standalone
from tests.standalone.test_real_alertmanager import Sender, alert, told_by_alertmanager
from tests.waiting import until

SOON = {"group_interval": "1s", "repeat_interval": "1h"}
# What is refused is tried again for as long as the group_interval.
PATIENT = {"group_interval": "60s", "repeat_interval": "1h"}
AT_ONCE = "ladder: {{act_after: 0s, wait: 20s, window: 30s, hold_for: 10s, quiet_for: 5m}}"
WITHIN = 60


def clock_of_now() -> MovedClock:
    """A clock that begins now, as an Alertmanager tells when it was really started."""
    return MovedClock(datetime.now(UTC).isoformat())


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def over(sent: Mapping[str, Any], seconds: float = 1) -> dict[str, Any]:
    """The same alert, which has ended so many seconds ago."""
    return {**sent, "endsAt": ago(seconds)}


async def services(rig: Rig, *, firing: bool = True) -> set[str]:
    return {each.service for each in await rig.episodes() if each.is_firing is firing}


async def until_known(rig: Rig, names: Collection[str]) -> None:
    async def are_known() -> bool:
        return await services(rig) == set(names)

    await until(are_known, within_seconds=WITHIN)


class FullDisk:
    """A journal that can store no alert until it is mended. `refused` counts the messages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused = 0
        self._patch, self._stores = monkeypatch, SqlEpisodes.take_alerts

        async def full(*_: Any, **__: Any) -> Taken:
            self.refused += 1
            raise JournalError("the disk is full")

        monkeypatch.setattr(SqlEpisodes, "take_alerts", full)

    def mend(self) -> None:
        self._patch.setattr(SqlEpisodes, "take_alerts", self._stores)


@pytest.fixture(autouse=True)
def _servers_share_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is moved in these tests, and that of a real Alertmanager can't be."""
    monkeypatch.setattr("keptn_remedy.standalone.alertmanager.answered_at", lambda _, ours: ours)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The alerts of each message as it came."""
    found: list[dict[str, Any]] = []
    take = AlertIntake.take

    async def listening(
        self: AlertIntake, source: OneSource, headers: Mapping[str, str], body: bytes
    ) -> StoredMessage:
        stored = await take(self, source, headers, body)
        found.extend(orjson.loads(body)["alerts"])
        return stored

    monkeypatch.setattr(AlertIntake, "take", listening)
    return found


async def test_what_ended_while_nobody_listened_is_closed_unverified_without_an_act(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    clock, server = clock_of_now(), Alertmanager(tmp_path / "am", alertmanager_program, {})
    sources = SOURCES.replace("{url}/am", server.url)
    try:
        async with ClientSession() as http:
            sender = Sender(server, http)
            async with standalone(tmp_path, sources=sources, clock=clock) as rig:
                server.configure(webhook_config(rig.intake_url(), SECRET, **SOON))
                await server.start()
                await sender.fire([alert("carts")])
                await until_known(rig, ["carts"])
            await sender.fire([over(alert("carts"))])
            # Another port: Alertmanager can tell it nothing. Nor is anything measured.
            world = rig.world
            world.series["errors"] = None
            async with standalone(tmp_path, sources=sources, clock=clock, world=world) as later:
                episode = await later.until_state("closed", step=10)
                assert await later.rungs() == []
    finally:
        server.kill()
    assert (episode.closing, Switch.applied) == ("unverified", [])


async def test_a_firing_that_is_delivered_after_the_end_begins_nothing(
    tmp_path: Path,
    alertmanager_program: AlertmanagerProgram,
    monkeypatch: pytest.MonkeyPatch,
    heard: list[dict[str, Any]],
) -> None:
    async with told_by_alertmanager(
        tmp_path, alertmanager_program, PATIENT, clock=clock_of_now()
    ) as (rig, sender):
        disk = FullDisk(monkeypatch)
        await sender.fire([alert("carts")])
        await until(lambda: disk.refused > 0, within_seconds=WITHIN)
        await sender.fire([over(alert("carts"))])
        disk.mend()
        await until(lambda: bool(heard), within_seconds=WITHIN)
        await rig.until_state("closed", step=10)
        assert await rig.rungs() == []
    assert [each["status"] for each in heard] == ["firing"]
    assert Switch.applied == []


async def test_a_flap_between_two_messages_is_one_episode_and_ends_by_an_unknown_start(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram, heard: list[dict[str, Any]]
) -> None:
    async with told_by_alertmanager(tmp_path, alertmanager_program, SOON) as (rig, sender):
        first = {**alert("carts"), "startsAt": ago(600)}
        second = {**alert("carts"), "startsAt": ago(30)}
        await sender.fire([first])
        await until_known(rig, ["carts"])
        for each in (over(first, 60), second, over(second)):
            await sender.fire([each])

        async def is_quiet() -> bool:
            return await services(rig, firing=False) == {"carts"}

        await until(is_quiet, within_seconds=WITHIN)
        await until(lambda: is_over(heard, second), within_seconds=WITHIN)
        assert len(await rig.episodes()) == 1


def is_over(heard: list[dict[str, Any]], sent: Mapping[str, Any]) -> bool:
    """Whether we were told that the second one has ended."""
    start = datetime.fromisoformat(sent["startsAt"])
    return any(
        each["status"] == "resolved" and datetime.fromisoformat(each["startsAt"]) == start
        for each in heard
    )


async def test_what_was_refused_and_is_not_told_again_is_found_by_asking_within_a_minute(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with told_by_alertmanager(tmp_path, alertmanager_program, SOON, clock=clock_of_now()) as (
        rig,
        sender,
    ):
        await sender.fire([alert("carts")])
        await until_known(rig, ["carts"])
        disk = FullDisk(monkeypatch)
        await sender.fire([over(alert("carts"))])
        await until(lambda: disk.refused > 0, within_seconds=WITHIN)
        await sender.fire([alert("carts"), alert("orders")])
        await falls_silent(sender)
        disk.mend()

        async def both_are_known() -> bool:
            return await services(rig) == {"carts", "orders"}

        await rig.until_true(both_are_known)
        assert len(await rig.episodes()) == 2


async def falls_silent(sender: Sender) -> None:
    """From now on it tells nobody, though it still lists what concerns us."""
    config = webhook_config("", **SOON)
    sender.server.configure({**config, "receivers": [{"name": "remedy"}, {"name": "nobody"}]})
    sender.server.send(signal.SIGHUP)

    async def is_silent() -> bool:
        return "nobody" in await sender.receivers()

    await until(is_silent, within_seconds=WITHIN)


async def test_an_edit_between_two_rungs_counts_for_the_next_episode(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    async with told_by_alertmanager(tmp_path, alertmanager_program, SOON) as (rig, sender):
        await sender.fire([alert("carts")])
        await rig.until_acts(1)
        file = tmp_path / "remediations/sockshop/remediation.yaml"
        file.write_text(file.read_text().replace("name: second", "value: {to: edited}"))
        await rig.until_state("escalated", step=5)
    assert Switch.applied == ["one", "two"]


async def test_an_alertmanager_that_has_forgotten_all_closes_nothing_for_two_minutes(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Collection[int]] = []
    compare = SqlEpisodes.compare_with_listing

    async def counted(
        self: SqlEpisodes, firing: Collection[int], absent: Collection[int], *, asked_at: float
    ) -> None:
        await compare(self, firing, absent, asked_at=asked_at)
        compared.append(absent)

    monkeypatch.setattr(SqlEpisodes, "compare_with_listing", counted)
    async with told_by_alertmanager(
        tmp_path, alertmanager_program, SOON, clock=clock_of_now(), ladder=AT_ONCE
    ) as (rig, sender):
        await sender.fire([alert("carts")])
        await until(lambda: Switch.applied == ["one"], within_seconds=WITHIN)
        sender.server.kill()
        await sender.server.start()
        for _ in range(2):  # the first may have been asked before the end
            seen = len(compared)
            rig.clock.forward(2)  # what was just asked is not asked again
            assert await rig.send(truncatedAlerts=1) == 202
            await until(lambda: len(compared) > seen, within_seconds=WITHIN)  # noqa: B023
        [episode] = await rig.episodes()
        assert (compared[-1], episode.absent_since, episode.closed_at) == ([], None, None)
        # The same answer counts once it has had the time to hear of what fires.
        rig.clock.forward(120)
        await until(lambda: compared[-1] == [episode.handle], within_seconds=WITHIN)
