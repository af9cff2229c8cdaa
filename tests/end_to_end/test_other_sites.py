"""Pages of other sites in a browser on this machine reach neither loopback port."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import ClientSession

from keptn_remedy.testing import triggered
from tests.providing import Greet, event_url, ops_url, provider


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({"Host": "rebound.example"}, True),
        ({"Origin": "http://evil.example"}, True),
        ({"Host": "remedy.example"}, False),
        ({"Origin": "https://remedy.example"}, False),
    ],
    ids=str,
)
async def test_a_page_of_another_site_reaches_neither_port(
    headers: Mapping[str, str], is_refused: bool, tmp_path: Path
) -> None:
    Greet.greeted.clear()
    event = triggered("greet")
    async with (
        provider(tmp_path / "j.db", None, Greet, host_names=("remedy.example",)) as service,
        ClientSession(headers=headers) as page,
    ):
        as_event = {"Content-Type": "application/cloudevents+json"}
        async with page.post(event_url(service), json=event, headers=as_event) as answer:
            assert answer.status == (403 if is_refused else 202)
        async with page.get(ops_url(service, "/api/executions")) as answer:
            assert answer.status == (403 if is_refused else 200)
    assert Greet.greeted == ([] if is_refused else [event["id"]])
