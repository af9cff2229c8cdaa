"""The planned action against an HTTP server: plan, apply, verify, and each way an undo ends."""

from typing import Any

import pytest
from pydantic import HttpUrl

from examples.set_limit.set_limit import SetLimit
from keptn_remedy import Change, Plan
from keptn_remedy.testing import HttpPeer, http_peer, run_action, undo_action

PLAN = Plan((Change("route:checkout", "limit", before=100, after=20),))


def answers(gateway: HttpPeer, *limits: int | None) -> None:
    """What the gateway answers in turn: a route with this limit, or nothing to a change."""
    for number, limit in enumerate(limits):
        route = {"limit": limit, "version": f"v{number}"}
        gateway.answer(204) if limit is None else gateway.answer(json=route)


def settings(gateway: HttpPeer) -> Any:
    return SetLimit.Settings(gateway_url=HttpUrl(gateway.url))


async def test_a_limit_is_set_and_checked() -> None:
    async with http_peer() as gateway:
        answers(gateway, 100, 100, None, 20)  # planned, read again, changed, verified
        outcome = await run_action(SetLimit, {"checkout": 20}, settings=settings(gateway))
    assert outcome.result == "pass"
    assert outcome.message.startswith("limits set: ")
    _, _, change, _ = gateway.requests
    assert (change.method, change.path, change.json) == ("PUT", "/routes/checkout", {"limit": 20})
    assert change.headers["If-Match"] == "v1"


async def test_a_dry_run_only_reads() -> None:
    async with http_peer() as gateway:
        answers(gateway, 100)
        outcome = await run_action(
            SetLimit, {"checkout": 20}, settings=settings(gateway), dry_run=True
        )
    assert outcome.result == "warning"
    assert [request.method for request in gateway.requests] == ["GET"]


async def test_a_limit_that_somebody_else_set_fails_and_is_left_alone() -> None:
    async with http_peer() as gateway:
        answers(gateway, 100, 100, None, 30, 30)  # verified as 30; the undo reads it once more
        outcome = await run_action(SetLimit, {"checkout": 20}, settings=settings(gateway))
    assert outcome.result == "fail"
    assert "somebody else set route:checkout to 30" in outcome.message
    assert [request.method for request in gateway.requests].count("PUT") == 1


@pytest.mark.parametrize(
    ("found", "state", "message"),
    [
        ([20, None], "done", "undone: route:checkout limit: 20 -> 100"),
        ([100], "done", "it is as it was before"),
        ([7], "refused", "route:checkout is 7, and 20 was expected: left alone"),
    ],
)
async def test_an_undo_puts_back_only_what_the_plan_left(
    found: list[int | None], state: str, message: str
) -> None:
    async with http_peer() as gateway:
        answers(gateway, *found)
        undone = await undo_action(SetLimit, PLAN, settings=settings(gateway))
    assert (undone.state, undone.message) == (state, message)


async def test_what_is_no_gateway_is_told() -> None:
    async with http_peer() as gateway:
        gateway.answer(json=["a list"])
        outcome = await run_action(SetLimit, {"checkout": 20}, settings=settings(gateway))
    assert (outcome.status, outcome.result) == ("errored", "fail")
    assert "is not a route of the gateway" in outcome.message
