"""`remedy doctor` looks at the channels of notifications, and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.channels import channels
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.masking import Mask
from keptn_remedy.testing import http_peer, registry_of


async def found(folder: Path, entries: Mapping[str, object] | None) -> list[Finding]:
    path = folder / "channels.yaml"
    if entries is not None:
        path.write_text(yaml.safe_dump({"version": 1, "channels": entries}, sort_keys=False))
    examined = Examined(
        variables={},
        settings=Settings(channels=None if entries is None else path),
        keptn=KeptnSettings(),
        registry=registry_of(),
        mask=Mask(),
        namespaces=(),
    )
    return [each async for each in channels(examined)]


async def test_each_channel_is_looked_at_and_gets_nothing(tmp_path: Path) -> None:
    async with http_peer() as peer:
        (tmp_path / "url").write_text(f"{peer.url}/services/s3cr3t-path")
        entries = {
            "slack": {"type": "slack", "url_file": str(tmp_path / "url")},
            "pager": {"type": "pagerduty", "key_file": str(tmp_path / "none")},
            "pair": {"type": "alertmanager", "urls": ["http://127.0.0.1:1", peer.url]},
            "away": {"type": "webhook", "url": "http://127.0.0.1:1/x"},
        }
        by_name = {each.about: each for each in await found(tmp_path, entries)}
        assert not peer.requests
    good = {about: each.is_good for about, each in by_name.items()}
    assert good == {
        "channel slack": True,
        "channel pager": False,
        "channel pair": True,
        "channel away": False,
    }
    assert "there is no such file" in by_name["channel pager"].message
    assert "remedy notify test slack sends a trial" in by_name["channel slack"].message
    assert "s3cr3t-path" not in by_name["channel slack"].message
    assert all(each.to_do for each in by_name.values() if not each.is_good)


async def test_a_file_with_a_mistake_is_told_and_without_one_nothing_is_said(
    tmp_path: Path,
) -> None:
    (one,) = await found(tmp_path, {"slack": {"type": "slack"}})
    assert (one.is_good, one.about) == (False, "channels")
    assert "url_file is missing" in one.message
    assert await found(tmp_path, None) == []
