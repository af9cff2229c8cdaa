"""The channels file, and who is told what: mistakes with their line and the nearest word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from keptn_remedy.guardrails.matching import Resolved, Rules, Scope
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.notifications.channels_file import ChannelsError, ChannelsFile, json_schema
from keptn_remedy.notifications.routes import Routes
from keptn_remedy.notifications.set_up import read_channels
from keptn_remedy.settings import Settings
from keptn_remedy.support.reading import Document
from keptn_remedy.support.variables import SettingsError

GOOD = """\
version: 1
channels:
  slack: {type: slack, url_file: /run/secrets/slack}
  team.carts: {type: teams, url_file: /run/secrets/teams, at_most: 5}
  pager: {type: pagerduty, key_file: /run/secrets/pager}
  hub: {type: webhook, url: "https://hub.example/x", secret_file: /run/secrets/hub}
  alerts: {type: alertmanager, urls: ["http://am-0:9093", "http://am-1:9093"]}
"""
CARTS = Scope("sockshop", "production", "carts", "scale")


def schema_accepts(text: str) -> bool:
    return bool(Draft202012Validator(json_schema()).is_valid(Document(text).value))


def test_file_and_schema_accept_every_type() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert schema_accepts(GOOD)
    assert len(ChannelsFile.load(GOOD).channels) == 5


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("slack: {type: slack}", "line 3: channels, slack: url_file is missing"),
        (
            "slack: {type: slack, url_fil: /x}",
            "line 3: channels, slack: there is no 'url_fil'; did you mean url_file?",
        ),
        ("slack: {type: slak, url_file: /x}", "type must be one of"),
        ("slack: {url_file: /x}", "type is missing"),
        ("pager: {type: pagerduty, key_file: 5}", "channels, pager, key_file: must be"),
        ("hub: {type: webhook}", "channels, hub: give either url or url_file"),
        ("hub: {type: webhook, url: 'ftp://x'}", "must be a URL that begins with"),
        ("am: {type: alertmanager, urls: []}", "channels, am, urls: must not be empty"),
        ("am: {type: alertmanager, urls: http://x}", "channels, am, urls: must be a list"),
        ("slack: {type: slack, url_file: /x, at_most: 0}", "at_most: must be 1 or more"),
        ("'my channel': {type: slack, url_file: /x}", "channels, my channel: must match"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_nearest_word(line: str, mistake: str) -> None:
    text = f"version: 1\nchannels:\n  {line}\n"
    with pytest.raises(ChannelsError) as told:
        ChannelsFile.load(text)
    assert mistake in str(told.value)
    # JSON Schema says neither that one of two is enough, nor how a name is spelled.
    if "webhook}" not in line and "my channel" not in line:
        assert not schema_accepts(text)


def test_an_address_in_place_of_its_file_is_not_repeated() -> None:
    text = "version: 1\nchannels:\n  s: {type: slack, url_file: 'https://hooks/s3cr3t'}\n"
    with pytest.raises(ChannelsError, match="must be the path of a file") as told:
        ChannelsFile.load(text)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize(
    "text", ["", "5", "version: 2", "channels: {}", "version: 1\nchannels: {}"]
)
def test_what_is_no_channels_file_is_refused(text: str) -> None:
    with pytest.raises(ChannelsError):
        ChannelsFile.load(text)


def resolved(*rules: str) -> list[Resolved]:
    text = "version: 1\nrules:\n" + "".join(f"- {{{rule}}}\n" for rule in rules)
    return [Rules(Policy.load(text)).resolve(CARTS)]


def test_the_most_specific_rule_says_who_is_told_else_the_setting() -> None:
    routes = Routes(["slack", "pager"], ["slack", "pager:approval+failed"])
    silent = [Rules(None).resolve(CARTS)]
    assert routes.channels("refused", silent) == ["slack"]
    assert routes.channels("failed", silent) == ["slack", "pager"]
    everybody = "name: all, notify: [pager]"
    carts = "name: carts, match: {service: carts}, notify: {slack: failed}"
    assert routes.channels("refused", resolved(everybody)) == ["pager"]
    assert routes.channels("refused", resolved(everybody, carts)) == []
    assert routes.channels("failed", resolved(everybody, carts)) == ["slack"]
    assert routes.channels("failed", resolved("name: none, notify: null")) == []


def test_the_channels_of_all_touched_targets_are_told_once() -> None:
    routes = Routes(["a", "b"], None)
    rules = resolved("name: x, notify: [b]") + resolved("name: y, notify: [a, b]")
    assert routes.channels("failed", rules) == ["b", "a"]


@pytest.mark.parametrize(
    ("notify", "mistake"),
    [
        ("slak", "there is no channel 'slak' in REMEDY_CHANNELS; did you mean slack?"),
        ("slack:aproval", "nobody can be told of 'aproval'; did you mean approval?"),
        ("slack:", None),
    ],
)
def test_the_setting_names_channels_and_kinds_that_there_are(
    notify: str, mistake: str | None
) -> None:
    if mistake is None:
        Routes(["slack"], [notify])
        return
    with pytest.raises(SettingsError) as told:
        Routes(["slack"], [notify])
    assert mistake in str(told.value)


def test_a_rule_that_names_an_unknown_channel_is_a_mistake() -> None:
    policy = Policy.load("version: 1\nrules: [{name: x, notify: [slak]}]")
    Routes(["slak"], None).check(policy)
    with pytest.raises(PolicyError, match="rule 'x', notify: there is no channel 'slak'"):
        Routes(["slack"], None).check(policy)


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"notify": ("slack",)}, "REMEDY_CHANNELS must name the file"),
        ({"channels": Path("/nowhere")}, "can't read /nowhere: there is no such file"),
    ],
)
def test_settings_that_lead_to_no_channels_are_told(settings: Any, mistake: str) -> None:
    with pytest.raises(SettingsError, match=mistake):
        read_channels(Settings(**settings))
