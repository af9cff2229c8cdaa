"""How many services a stage has: fetched now and then, and cached while Keptn doesn't answer."""

from __future__ import annotations

from structlog.testing import capture_logs

from keptn_remedy.guardrails.stages import (
    ASK_AGAIN_SECONDS,
    FRESH_SECONDS,
    MOST_STAGES,
    StageSizes,
)
from tests.core.journals import SetClock


class Stages:
    """Returns `size`, and counts how often it was called."""

    size: int | None = 7
    asked = 0

    async def services(self, project: str, stage: str) -> int | None:
        self.asked += 1
        return self.size


class MovedClock(SetClock):
    def monotonic(self) -> float:
        return self.time


async def test_what_keptn_told_holds_for_a_while() -> None:
    keptn, clock = Stages(), MovedClock()
    sizes = StageSizes(keptn.services, clock)
    assert [await sizes.of("shop", "prod") for _ in range(3)] == [7, 7, 7]
    assert keptn.asked == 1
    clock.time += FRESH_SECONDS
    keptn.size = 8
    assert await sizes.of("shop", "prod") == 8


async def test_a_silent_keptn_is_asked_again_soon_and_was_right_before() -> None:
    keptn, clock = Stages(), MovedClock()
    sizes = StageSizes(keptn.services, clock)
    await sizes.of("shop", "prod")
    clock.time += FRESH_SECONDS
    keptn.size = None
    assert await sizes.of("shop", "prod") == 7
    assert await sizes.of("shop", "prod") == 7
    assert keptn.asked == 2
    clock.time += ASK_AGAIN_SECONDS
    await sizes.of("shop", "prod")
    assert keptn.asked == 3


async def test_stages_are_told_apart_and_a_stage_never_told_of_is_unknown() -> None:
    keptn = Stages()
    sizes = StageSizes(keptn.services, MovedClock())
    await sizes.of("shop", "prod")
    keptn.size = None
    with capture_logs() as logged:
        assert [await sizes.of("shop", "dev") for _ in range(2)] == [None, None]
    assert [(line["log_level"], line["stage"]) for line in logged] == [("warning", "dev")]


async def test_so_many_stages_are_remembered_and_no_more() -> None:
    keptn = Stages()
    sizes = StageSizes(keptn.services, MovedClock())
    for number in range(MOST_STAGES):
        await sizes.of("shop", f"stage {number}")
    await sizes.of("shop", "stage 0")
    assert keptn.asked == MOST_STAGES == 1_000
    await sizes.of("shop", "one more")
    await sizes.of("shop", "stage 0")
    assert keptn.asked == MOST_STAGES + 2
