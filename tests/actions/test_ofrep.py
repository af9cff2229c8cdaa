"""What flagd serves of a FeatureFlag resource is asked by OFREP, OpenFeature's remote protocol."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import ClientSession

from keptn_remedy.testing import http_peer
from keptn_remedy.testing.http_peer import HttpPeer
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.flag_backends import Switch
from keptn_remedy_actions.flag_backends.compared import ComparedFlags
from keptn_remedy_actions.flag_backends.openfeature import FeatureFlags, reference

BOOLEAN = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


class Resource:
    """The API server's part: one resource, which is read and patched."""

    def __init__(self) -> None:
        flags = {"hero": copy.deepcopy(BOOLEAN)}
        metadata = {"uid": "1", "resourceVersion": "1"}
        self.live: dict[str, Any] = {"metadata": metadata, "spec": {"flagSpec": {"flags": flags}}}

    async def get(self, ref: object) -> dict[str, Any]:
        return copy.deepcopy(self.live)

    async def patch(self, ref: object, kind: str, operations: list[dict[str, Any]]) -> None:
        hero = self.live["spec"]["flagSpec"]["flags"]["hero"]
        for each in operations:
            if each["op"] == "add":
                hero[each["path"].rpartition("/")[2]] = each["value"]


@asynccontextmanager
async def switched(wish: bool | str, **served: Any) -> AsyncIterator[tuple[ComparedFlags, Switch]]:
    """The flag `hero`, switched; and the store to look at it, of which flagd serves this."""
    async with http_peer() as peer, ClientSession() as http:
        peer.answer(**served)
        api = cast("ClusterApi", Resource())
        store = ComparedFlags(FeatureFlags(api, http, reference("shop/flags"), peer.url))
        switch = Switch.of(await store.find("hero", wish), wish)
        await store.switch([switch])
        yield store, switch
        check_requests(peer)


def check_requests(peer: HttpPeer) -> None:
    for request in peer.requests:
        assert (request.method, request.path) == ("POST", "/ofrep/v1/evaluate/flags/hero")
        assert request.json == {"context": {}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ComparedFlags, "SETTLE_SECONDS", 0.0)


async def test_a_flag_holds_once_flagd_serves_it_so() -> None:
    answer = {"key": "hero", "reason": "STATIC", "variant": "off", "value": False}
    async with switched(False, json=answer) as (store, switch):
        evaluation = await store.verify([switch], seconds=5)
    assert (evaluation.contrary, evaluation.seen) == ("", {"hero": "off"})


async def test_what_flagd_still_serves_otherwise_is_told() -> None:
    answer = {"key": "hero", "reason": "CACHED", "variant": "on", "value": True}
    async with switched(False, json=answer) as (store, switch):
        evaluation = await store.verify([switch], seconds=5)
    assert evaluation.contrary.startswith("hero off, but applications still see it on in ")


@pytest.mark.parametrize(
    ("served", "doubt"),
    [
        ({"status": 404, "json": {"key": "hero", "errorCode": "FLAG_NOT_FOUND"}}, "answers 404"),
        ({"status": 401, "body": b""}, "answers 401"),
        ({"status": 429, "headers": {"Retry-After": "60"}}, "answers 429"),
        ({"status": 302, "headers": {"Location": "/login"}}, "answers 302"),
        ({"body": b"<html>log in</html>"}, "can't be asked: JSONDecodeError"),
        ({"json": {"key": "hero", "reason": "DISABLED"}}, "serves hero neither on nor off"),
        ({"json": {"key": "hero", "value": "off"}}, "serves hero neither on nor off"),
        ({"json": [True]}, "serves hero neither on nor off"),
    ],
    ids=str,
)
async def test_what_flagd_does_not_say_is_no_contradiction_but_a_doubt(
    served: dict[str, Any], doubt: str
) -> None:
    async with switched(False, **served) as (store, switch):
        evaluation = await store.verify([switch], seconds=5)
    assert (evaluation.contrary, evaluation.seen) == ("", {"hero": "off"})
    assert evaluation.doubt.startswith("flagd at http://127.0.0.1:")
    assert evaluation.doubt.endswith(doubt)


async def test_a_flagd_that_knows_the_flag_a_little_later_leaves_no_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ComparedFlags, "SETTLE_SECONDS", 60.0)
    monkeypatch.setattr(ComparedFlags, "POLL_SECONDS", 0.01)
    async with http_peer() as peer, ClientSession() as http:
        peer.answer(status=404)
        peer.answer(json={"key": "hero", "value": False})
        api = cast("ClusterApi", Resource())
        store = ComparedFlags(FeatureFlags(api, http, reference("shop/flags"), peer.url))
        switch = Switch.of(await store.find("hero", False), False)
        await store.switch([switch])
        evaluation = await store.verify([switch], seconds=60)
    assert (evaluation.contrary, evaluation.doubt) == ("", "")


async def test_of_a_percentage_one_caller_says_nothing() -> None:
    async with switched("10%", json={"key": "hero", "value": True}) as (store, switch):
        evaluation = await store.verify([switch], seconds=5)
    assert (evaluation.contrary, evaluation.seen) == ("", {"hero": "10%"})
