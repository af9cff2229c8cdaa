"""Authors' mistakes stay theirs: the process, its other actions and its operator are not harmed."""

from pathlib import Path
from signal import SIGTERM

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess
from tests.providing import get_json


async def test_an_action_that_exits_and_a_broken_file_harm_no_neighbour(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        (tmp_path / "actions" / "broken.py").write_text("x = 1\ndef (")
        await provider.start()
        provider.shut("gate")
        neighbour = triggered("run-once", {"gate": "gate"}, service="orders")
        exiting = triggered("exit")
        for event in (neighbour, exiting):
            await keptn.deliver(event, to=provider.url)

        await keptn.task_finished(exiting["id"])
        told = keptn.finished(exiting["id"])[0].data
        assert (told["status"], told["result"]) == ("errored", "fail")
        assert told["message"] == "the action called sys.exit(4)"

        provider.open("gate")
        assert (await keptn.task_finished(neighbour["id"])).result == "pass"
        assert len(provider.traces("ran", neighbour["id"])) == 1
        (degraded,) = (await get_json(f"{provider.ops_url}readyz"))["degraded"]
        assert "broken.py: can't be loaded: line 2: SyntaxError" in degraded
        await provider.quiet()


async def test_a_second_signal_ends_a_process_whose_loop_is_blocked(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("block-loop", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        provider.send(SIGTERM)
        # The kernel merges signals that are pending: the first must have been heard.
        await provider.heard(SIGTERM)
        provider.send(SIGTERM)
        assert (await provider.exited(within=5)).code == 1

        provider.open("gate")
        await provider.start()
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()
