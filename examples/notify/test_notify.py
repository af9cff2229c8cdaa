"""The chat is told, again if it was busy; the event alone decides what."""

from pydantic import HttpUrl

from examples.notify.notify import Notify
from keptn_remedy.testing import http_peer, run_action

ENDED = {"project": "sockshop", "stage": "production", "service": "carts", "result": "pass"}


async def test_the_chat_is_told_even_if_it_is_busy_at_first() -> None:
    async with http_peer() as chat:
        chat.answer(503)
        settings = Notify.Settings(webhook_url=HttpUrl(chat.url))
        outcome = await run_action(Notify, {**ENDED, "message": "2 more pods"}, settings=settings)
    text = "Remediation of sockshop/production/carts: pass. 2 more pods"
    assert [request.json for request in chat.requests] == [{"text": text}] * 2
    assert (outcome.result, outcome.message) == ("pass", f"told: {text}")
