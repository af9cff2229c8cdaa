"""`remedy notify`: a channels file is checked, and its channels are tried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
import yaml

from keptn_remedy.cli import notify_commands
from keptn_remedy.testing import HttpPeer, http_peer


def channels(folder: Path, url: str) -> Path:
    """A file with a channel of each type, all at that address."""
    secret = folder / "secret"
    secret.write_text(f"{url}/services/s3cr3t-path")
    found = {
        "slack": {"type": "slack", "url_file": str(secret)},
        "teams": {"type": "teams", "url_file": str(secret)},
        "pager": {"type": "pagerduty", "key_file": str(secret), "url": f"{url}/v2/enqueue"},
        "hub": {"type": "webhook", "url": f"{url}/hub", "secret_file": str(secret)},
        "alerts": {"type": "alertmanager", "urls": [url]},
    }
    path = folder / "channels.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "channels": found}, sort_keys=False))
    return path


async def tried(name: str | None, *, as_json: bool = False) -> int:
    return await asyncio.to_thread(notify_commands.test, name, as_json=as_json)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(peer: HttpPeer) -> list[str]:
    return sorted(request.path for request in peer.requests)


async def test_each_channel_gets_a_trial_and_a_page_is_ended_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with http_peer() as peer:
        monkeypatch.setenv("REMEDY_CHANNELS", str(channels(folder, peer.url)))
        assert await tried(None) == 0
    assert paths(peer) == [
        "/api/v2/alerts",
        "/api/v2/alerts",
        "/hub",
        "/services/s3cr3t-path",
        "/services/s3cr3t-path",
        "/v2/enqueue",
        "/v2/enqueue",
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: taken" for name in ("slack", "teams", "pager", "hub", "alerts")
    ]


async def test_one_channel_is_tried_and_its_refusal_told_without_the_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with http_peer() as peer:
        peer.answer(403, body=b"no access to s3cr3t-path", times=None)
        monkeypatch.setenv("REMEDY_CHANNELS", str(channels(folder, peer.url)))
        assert await tried("slack") == 1
        assert len(peer.requests) == 1
        assert await tried("hub", as_json=True) == 1
    shown = capsys.readouterr()
    assert "slack: 127.0.0.1 answered 403" in shown.err
    assert orjson.loads(shown.out)["taken"] is False
    assert f"{peer.url}/services/s3cr3t-path" not in shown.out + shown.err


async def test_what_keeps_a_channel_from_taking_it_is_told_in_plain_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REMEDY_CHANNELS", str(channels(folder, "http://127.0.0.1:1")))
    assert await tried("hub") == 1
    refused = "remedy: hub: 127.0.0.1: can't be reached: Connection refused\n"
    assert capsys.readouterr().err == refused
    async with http_peer() as peer:
        peer.answer(302, headers={"Location": "/sign-in"}, times=None)
        monkeypatch.setenv("REMEDY_CHANNELS", str(channels(folder, peer.url)))
        assert await tried("hub") == 1
    led = "remedy: hub: 127.0.0.1 answered 302; no redirect is followed\n"
    assert capsys.readouterr().err == led


@pytest.mark.parametrize(
    ("name", "said"),
    [("slak", "did you mean slack?"), ("nothing-like-it", "there are: slack, teams")],
)
async def test_a_channel_that_there_is_not_is_wrong_usage(
    name: str,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REMEDY_CHANNELS", str(channels(folder, "http://127.0.0.1:1")))
    assert await tried(name) == 2
    assert said in capsys.readouterr().err


async def test_without_channels_the_setting_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await tried(None) == 2
    assert "REMEDY_CHANNELS" in capsys.readouterr().err


def test_a_file_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = channels(folder, "https://x.example")
    assert notify_commands.check(path, as_json=False) == 0
    assert "  - pager: pagerduty; more than 20 messages a minute" in capsys.readouterr().out
    path.write_text("version: 1\nchannels: {slack: {type: slack}}")
    assert notify_commands.check(path, as_json=True) == 1
    shown = capsys.readouterr()
    assert orjson.loads(shown.out)["mistakes"] == [
        f"{path}: line 2: channels, slack: url_file is missing"
    ]
    assert notify_commands.check(folder / "none", as_json=False) == 2
