"""A pause by command: once it has returned, nothing begins to act."""

from __future__ import annotations

from pathlib import Path

from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from keptn_remedy.testing.fake_keptn import TaskOutcome
from tests.log_lines import captured_logs
from tests.ordering import JOURNAL, say
from tests.providing import Greet, event_url, provider


async def test_no_plain_action_without_a_policy_begins_after_the_command_has_returned(
    tmp_path: Path,
) -> None:
    Greet.greeted.clear()
    with captured_logs():  # the commands write to the same stdout
        async with FakeKeptn() as keptn, provider(tmp_path / JOURNAL, keptn, Greet) as service:
            assert (await say(tmp_path, "pause", "--reason", "fire drill")).code == 0
            assert {(await _outcome(keptn, service, n)).result for n in range(8)} == {"fail"}
            assert Greet.greeted == []
            assert (await say(tmp_path, "resume")).code == 0
            assert (await _outcome(keptn, service, 8)).result == "pass"


async def _outcome(keptn: FakeKeptn, service: Service, number: int) -> TaskOutcome:
    event = triggered("greet", {}, service=f"service-{number}")
    await keptn.deliver(event, to=event_url(service))
    return await keptn.task_finished(event["id"])
