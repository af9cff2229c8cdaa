"""Who rests takes no slot, and needs one again to go on."""

from __future__ import annotations

from pathlib import Path

from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Gate, event_url, gated, provider
from tests.waiting import until

ASKS = "version: 1\nrules: [{name: careful, mode: approve}]\n"


async def test_what_was_approved_at_once_is_carried_out_within_the_slots(tmp_path: Path) -> None:
    gate, policy = Gate(), tmp_path / "policy.yaml"
    policy.write_text(ASKS)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, gated(gate), policy=policy, max_concurrent=2) as service,
    ):
        events = [triggered("wait", service=f"s{number}") for number in range(6)]
        for event in events:
            await keptn.deliver(event, to=event_url(service))

        async def all_ask() -> bool:
            return len(await service.journal.questions(10)) == len(events)

        await until(all_ask)
        for event in events:
            assert await service.journal.answer(event["id"], "approved", "ann", None) is None
        await gate.until_entered(2)
        await until(lambda: len(service.engine.waiting_room) == 4)
        gate.open()
        for event in events:
            assert (await keptn.task_finished(event["id"])).result == "pass"
        assert gate.most_at_once == 2
