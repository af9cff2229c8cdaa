"""An event with a name of REMEDY_ALIASES: what Keptn keeps for it is found under that name."""

from __future__ import annotations

from pathlib import Path

from keptn_remedy.registry import discover
from keptn_remedy.testing import FakeKeptn, http_peer, triggered
from tests.providing import event_url, provider

HERE = ("sockshop", "production", "carts")
HOSTS = {"WEBHOOK_HOSTS": "127.0.0.1", "WEBHOOK_LOOPBACK_HOSTS": "127.0.0.1"}
# Each has what the action itself goes by, too: that is another's.
REMEDIATION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
spec:
  remediations:
    - problemType: default
      actionsOnOpen:
        - {action: webhook, name: Tell them, value: {verify: {url: URL/others}}}
        - {action: notify, name: Tell them, value: {verify: {url: URL/told}}}
"""
FILES = {
    "generic-executor/action.triggered.webhook.http": "POST URL/others\n",
    "generic-executor/action.triggered.notify.http": "POST URL/notify\n",
    "remediation.yaml": REMEDIATION,
}


async def test_an_event_with_an_alias_gets_the_value_and_the_file_of_that_name(
    tmp_path: Path,
) -> None:
    registry = discover(HOSTS, aliases=("notify=webhook",), switched_on=("notify",))
    async with (
        http_peer() as peer,
        FakeKeptn() as keptn,
        provider(
            tmp_path / "j.db", keptn, registry=registry, value_source="remediation.yaml"
        ) as service,
    ):
        for name, text in FILES.items():
            keptn.put_resource(name, text.replace("URL", peer.url).encode(), *HERE)
        event = triggered("notify")
        event["data"]["action"]["name"] = "Tell them"
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"], 30)).result == "pass"
        assert [(each.method, each.path) for each in peer.requests] == [
            ("POST", "/notify"),
            ("GET", "/told"),
        ]
        assert len(keptn.started(event["id"])) == len(keptn.finished(event["id"])) == 1
        record = await service.journal.record(event["id"])
        assert record
        assert record.action == "webhook"
