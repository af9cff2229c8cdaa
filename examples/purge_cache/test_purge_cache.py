"""The test kit runs an action as the service does, against an HTTP server with scripted answers."""

from pydantic import HttpUrl

from examples.purge_cache.purge_cache import PurgeCache
from keptn_remedy.testing import ImpatientClock, http_peer, run_action


async def test_the_zone_is_purged() -> None:
    async with http_peer() as cdn:
        settings = PurgeCache.Settings(cdn_url=HttpUrl(cdn.url))
        outcome = await run_action(PurgeCache, {"zone": "shop"}, settings=settings)
    assert (outcome.result, outcome.message) == ("pass", "purged shop")
    assert [request.json for request in cdn.requests] == [{"zone": "shop"}]


async def test_a_busy_cdn_is_asked_again_when_it_says_so() -> None:
    async with http_peer() as cdn:
        cdn.answer(503, headers={"Retry-After": "7"})
        settings, clock = PurgeCache.Settings(cdn_url=HttpUrl(cdn.url)), ImpatientClock()
        outcome = await run_action(PurgeCache, {"zone": "shop"}, settings=settings, clock=clock)
    assert (outcome.result, len(cdn.requests), clock.slept) == ("pass", 2, [7.0])


async def test_a_value_without_a_zone_is_refused() -> None:
    async with http_peer() as cdn:
        settings = PurgeCache.Settings(cdn_url=HttpUrl(cdn.url))
        outcome = await run_action(PurgeCache, {"region": "eu"}, settings=settings)
    assert (outcome.status, cdn.requests) == ("errored", [])
    assert "zone" in outcome.message
