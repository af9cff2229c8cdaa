"""An event changes modules no more often than it did: see `python -m tests.tools.hops`."""

import asyncio

from tests.tools.hops import calls_of_one_event, hops

# Lower it when the figure falls. Two threads take part, so runs differ by one or two.
# 76 on a quiet machine; threads that interleave may add one or two.
MOST_HOPS = 78


async def test_an_event_changes_modules_no_more_often_than_it_did() -> None:
    # In a thread and a loop of its own: the profiler must not stay with the other tests.
    calls = await asyncio.to_thread(lambda: asyncio.run(calls_of_one_event()))
    passed = {call.module.split(".")[1] for call in calls}
    assert {"keptn", "engine", "guardrails"} <= passed
    assert hops(calls).total() <= MOST_HOPS
