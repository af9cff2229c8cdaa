"""Orders in a real browser: pressed, followed live, pressed twice, and reached by a link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.browser.pages import PHONE, window
from tests.browser.town import Town, _Kept, town

pytestmark = pytest.mark.asyncio(loop_scope="session")
_PRESSED_TWICE = """() => new Promise((resolve) => {
  const form = document.querySelector("#undo form"), button = document.getElementById("do-undo");
  const look = () => [button.disabled, button.textContent, form.getAttribute("aria-busy")];
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    setTimeout(() => resolve(look()), 50);
  }, { once: true });
  button.click(); button.click();
})"""
TARGET = "deployments.apps/shop-production/checkout"


@pytest_asyncio.fixture(loop_scope="session")
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path) as found:
        yield found


async def test_an_approval_on_a_phone_from_a_link_in_a_chat(browser: Browser, place: Town) -> None:
    link = f"{place.url}/executions/{place.asking}"
    text = f"<a href='{link}'>approval needed</a>"

    async def chat(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    # Another host than the page's: another site, from which the cookie isn't sent.
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with window(browser, place.url, size=PHONE) as phone:
            await phone.sign_in(place.home.tokens["approver"])
            phone.broken.clear()
            await phone.page.goto(f"http://localhost:{port}/")
            await phone.page.click("a")
            await phone.page.wait_for_url(link)
            await phone.page.wait_for_selector("text=Approve this plan")
            assert TARGET not in _Kept.state
            await phone.page.click("text=Approve this plan")
            await phone.page.wait_for_url(f"{link}?told=approve")
            await phone.page.wait_for_selector("h1 >> text=pass")
            assert _Kept.state[TARGET] == 5
            await phone.page.wait_for_selector("text=Approved by ben")
    finally:
        await runner.cleanup()


async def test_an_open_page_shows_what_happens_without_being_loaded_again(
    browser: Browser, place: Town
) -> None:
    async with window(browser, place.url) as watching, window(browser, place.url) as deciding:
        await watching.sign_in(place.home.tokens["viewer"], "/inbox")
        await watching.is_live()
        await watching.page.evaluate("window.loadedOnce = true")
        await watching.page.wait_for_selector("article.question")
        await deciding.sign_in(place.home.tokens["approver"], "/inbox")
        await deciding.page.fill("article.question input[name=reason]", "not tonight")
        await deciding.page.click("text=Deny")
        await deciding.page.wait_for_selector("text=Why it did not act")
        await watching.page.wait_for_selector("text=Nothing waits for a person")
        assert await watching.page.evaluate("window.loadedOnce") is True
        await watching.must_be_sound()
        await deciding.must_be_sound()


async def test_a_button_says_that_it_works_and_can_be_pressed_once(
    browser: Browser, place: Town
) -> None:
    async with window(browser, place.url) as opened:
        await opened.sign_in(place.home.tokens["operator"], f"/executions/{place.done}")
        await opened.page.click("summary >> text=Undo…")
        posts: list[str] = []
        opened.page.on("request", lambda it: posts.append(it.url) if it.method == "POST" else None)
        # The answer is held up, so that the button can be looked at meanwhile.
        held = await opened.page.evaluate(_PRESSED_TWICE)
        assert held == [True, "Undoing…", "true"]
        assert posts == []
        await opened.open(f"/executions/{place.done}")
        await opened.page.click("summary >> text=Undo…")
        await opened.page.click("#do-undo")
        await opened.page.wait_for_selector("text=Undo done")
        assert posts == [f"{place.url}/executions/{place.done}/undo"]
        await opened.must_be_sound()


async def test_the_brake_stops_everything_and_every_screen_says_so(
    browser: Browser, place: Town
) -> None:
    async with window(browser, place.url) as pausing, window(browser, place.url) as watching:
        await watching.sign_in(place.home.tokens["viewer"], "/executions")
        await watching.is_live()
        await pausing.sign_in(place.home.tokens["operator"], "/rails")
        await pausing.page.click("text=Pause everything")
        await pausing.page.fill("#pause-reason", "the database fails over")
        await pausing.page.click("#do-pause")
        await pausing.page.wait_for_selector(".banner.pause >> text=the database fails over")
        await watching.page.wait_for_selector(".banner.pause >> text=the database fails over")
        assert await watching.page.locator(".banner.pause >> text=cleo").count() == 1
        await pausing.must_be_accessible()
        await pausing.page.click("#resume")
        await watching.page.wait_for_selector(".banner.pause", state="detached")
        assert place.home.service.pauses.current is None
        await pausing.must_be_sound()


async def test_what_somebody_writes_is_not_lost_to_an_update(browser: Browser, place: Town) -> None:
    async with window(browser, place.url) as opened:
        await opened.sign_in(place.home.tokens["approver"], "/inbox")
        await opened.is_live()
        await opened.page.fill("article.question input[name=reason]", "half a sent")
        event_id = await place.home.send("scale", "+1", service="orders", stage="production")
        await place.home.asks(event_id)
        await opened.page.wait_for_selector("#waiting >> text=2")
        field = opened.page.locator("article.question input[name=reason]").first
        assert await field.input_value() == "half a sent"
