"""A person is told once, on every way that is set up, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

from pydantic import HttpUrl

from keptn_remedy.standalone.configuration import Configuration
from tests.standalone.rig import SECRET, SOURCES, standalone

CHANNELS = """
version: 1
channels:
  pager: {{type: pagerduty, key_file: {folder}/secret, url: "{url}/told/pager"}}
  hook: {{type: webhook, url: "{url}/told/hook"}}
  room: {{type: slack, url_file: {folder}/slack}}
"""
EVERYBODY = SOURCES + "escalate_to: [alertmanagers, pager, hook, room]\n"
PAGE = HttpUrl("https://remedy.example")


async def test_a_person_is_told_on_every_way_once_with_what_was_tried_and_a_link(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path, sources=EVERYBODY, channels=CHANNELS, page_url=PAGE) as rig:
        world = rig.world
        await rig.send(world.fire("f1"))
        episode = await rig.until_state("escalated", step=5)
        await rig.until_holds(lambda: len(world.told) == 3 and bool(world.posted))
        told = dict(world.told)
        await rig.send(world.resolve("f1"))
        await rig.until_state("closed", step=10)
        await rig.until_holds(lambda: len(world.told) == 6)
        over = dict(world.told[3:])

    link = f"https://remedy.example/problems/{episode.id}"
    tried = "1. switch: switched; failed: the alert TooManyErrors is firing (looks: good 0, bad "
    pager = told["pager"]
    assert (pager["event_action"], pager["client_url"]) == ("trigger", link)
    assert pager["dedup_key"] == f"remedy:escalation {episode.id}"
    assert pager["payload"]["severity"] == "critical"
    assert tried in pager["payload"]["custom_details"]["text"]
    assert tried in told["slack"]["text"]
    assert link in told["slack"]["text"]
    alert = world.posted[0]
    assert (alert["labels"]["alertname"], alert["labels"]["remedy_self"]) == (
        "RemedyGaveUp",
        "true",
    )
    assert alert["generatorURL"] == link
    assert tried in alert["annotations"]["description"]
    assert told["hook"]["type"] == "keptn-remedy.notification.escalation"
    assert over["pager"] == {
        "routing_key": SECRET,
        "event_action": "resolve",
        "dedup_key": pager["dedup_key"],
    }


async def test_what_a_crash_left_untold_is_told_after_it(tmp_path: Path) -> None:
    only = SOURCES + "escalate_to: [pager]\n"
    async with standalone(tmp_path, sources=only, channels=CHANNELS) as rig:
        clock, world = rig.clock, rig.world
        await rig.send(world.fire("f1"))
        await rig.until_state("escalated", step=5)
        before = len(world.told)
    async with standalone(
        tmp_path, sources=only, channels=CHANNELS, clock=clock, world=world
    ) as rig:
        await rig.until_holds(lambda: len(world.told) == 1)
        await rig.pass_by(120)

    assert before <= 1
    assert [where for where, _ in world.told] == ["pager"]
    assert world.posted == []


async def test_a_channel_that_does_not_exist_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    async with standalone(tmp_path, channels=CHANNELS) as rig:
        assert rig.service.standalone
        configuration: Configuration = rig.service.standalone.configuration
        text = (tmp_path / "sources.yaml").read_text()
        (tmp_path / "sources.yaml").write_text(text + "escalate_to: [pagr]\n")
        await configuration.look()

    assert configuration.problem == (
        "escalate_to: there is no channel 'pagr' in REMEDY_CHANNELS; did you mean pager?"
    )
