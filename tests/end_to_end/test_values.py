"""The value of a round alone: without what Keptn kept of earlier ones, or from remediation.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import event_url, provider

REMEDIATION = b"""
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
spec:
  remediations:
    - problemType: default
      actionsOnOpen:
        - {action: flags, name: first, value: {banner: "off"}}
        - {action: flags, name: second, value: {search: "off"}}
"""


class Flags(Action):
    """Notes what it is asked to set."""

    name = "flags"
    Value = dict[str, Any]
    asked: ClassVar[list[dict[str, Any]]] = []

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        self.asked.append(value)
        return Outcome.passed("set")


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Flags.asked.clear()


def second_round(first: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """As Keptn sends it: with what we told in the first round, and its value merged in."""
    merged = {**first["data"]["action"]["value"], **value}
    event = triggered("flags", merged, remedy={"execution": first["id"], "attempts": "1"})
    event["data"]["action"]["name"] = "second"
    return {**event, "shkeptncontext": first["shkeptncontext"]}


async def test_what_an_earlier_round_left_is_dropped_and_told(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Flags) as service:
        first = triggered("flags", {"banner": "off"})
        second = second_round(first, {"search": "off"})
        for event in (first, second):
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        assert Flags.asked == [{"banner": "off"}, {"search": "off"}]
        told = keptn.finished(second["id"])[0].data
        assert told["result"] == "warning"
        assert (
            f"banner: left over from the round before (execution {first['id']})" in told["message"]
        )


async def test_the_value_of_remediation_yaml_is_taken_where_that_is_set(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        provider(
            tmp_path / "j.db",
            keptn,
            Flags,
            value_source="remediation.yaml",
            keptn_api=keptn.url,
        ) as service,
    ):
        first = triggered("flags", {"banner": "off"})
        event = second_round(first, {"search": "off"})
        scope = (event["data"][name] for name in ("project", "stage", "service"))
        keptn.put_resource("remediation.yaml", REMEDIATION, *scope)
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).result == "pass"
        assert Flags.asked == [{"search": "off"}]


async def test_without_the_file_the_action_is_not_carried_out(tmp_path: Path) -> None:
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, Flags, value_source="remediation.yaml") as service,
    ):
        event = triggered("flags", {"banner": "off"})
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).status == "errored"
        message = keptn.finished(event["id"])[0].data["message"]
        assert message == "there is no remediation.yaml for sockshop/production/carts"
        assert Flags.asked == []
