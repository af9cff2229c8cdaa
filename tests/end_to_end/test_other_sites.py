"""Pages of other sites in a browser on this machine reach neither loopback port."""

from pathlib import Path

from aiohttp import ClientSession

from keptn_remedy.testing import triggered
from tests.providing import Greet, event_url, ops_url, provider
from tests.waiting import until

REFUSED: list[dict[str, str]] = [{"Host": "rebound.example"}, {"Origin": "http://evil.example"}]
KNOWN: list[dict[str, str]] = [{"Host": "remedy.example"}, {"Origin": "https://remedy.example"}, {}]
AS_EVENT = {"Content-Type": "application/cloudevents+json"}


async def test_a_page_of_another_site_reaches_neither_port(tmp_path: Path) -> None:
    accepted: list[str] = []
    async with provider(tmp_path / "j.db", None, Greet, host_names=("remedy.example",)) as service:
        for headers in (*REFUSED, *KNOWN):
            event = triggered("greet")
            async with ClientSession(headers=headers) as page:
                async with page.post(event_url(service), json=event, headers=AS_EVENT) as answer:
                    assert answer.status == (403 if headers in REFUSED else 202), headers
                async with page.get(ops_url(service, "/api/executions")) as answer:
                    assert answer.status == (403 if headers in REFUSED else 200), headers
            if headers in KNOWN:
                accepted.append(event["id"])
        # Before the service drains: what has not begun by then waits for its next start.
        await until(lambda: len(Greet.greeted) >= len(accepted))
    assert Greet.greeted == accepted
