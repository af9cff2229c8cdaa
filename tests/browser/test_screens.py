"""Each screen in a real browser: by day and by night, wide and on a phone, and live."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.pages import PHONE, Window, window
from tests.browser.town import Town, town
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEEPS_PICTURES = os.environ.get("PICTURES") == "1"
# Those that the documents show.
BY_DAY = ("now", "asking", "executions", "rails", "actions")
BY_NIGHT = ("now", "refused")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """One provider for the tests that leave it as they found it."""
    async with town(tmp_path_factory.mktemp("town")) as found:
        yield found


def screens(place: Town) -> dict[str, str]:
    return {
        "now": "/",
        "inbox": "/inbox",
        "executions": "/executions?stage=production",
        "execution": f"/executions/{place.done}",
        "refused": f"/executions/{place.refused}",
        "asking": f"/executions/{place.asking}",
        "rails": "/rails",
        "actions": "/actions",
    }


async def signed_in(place: Town, opened: Window) -> Window:
    await opened.sign_in(place.home.tokens["operator"])
    return opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_screen_can_be_used_by_all_by_day_and_by_night(
    browser: Browser, place: Town, scheme: str
) -> None:
    async with window(browser, place.url, scheme=scheme) as opened:
        await opened.open("/sign-in")
        await opened.must_be_accessible()
        await signed_in(place, opened)
        for name, path in screens(place).items():
            await opened.open(path)
            await opened.is_live()
            await opened.must_be_accessible()
            await opened.must_be_sound()
            if KEEPS_PICTURES and name in (BY_DAY if scheme == "light" else BY_NIGHT):
                await opened.picture(name if scheme == "light" else f"{name}-dark")


async def test_a_phone_shows_every_screen_without_scrolling_sideways(
    browser: Browser, place: Town
) -> None:
    async with window(browser, place.url, size=PHONE) as opened:
        await signed_in(place, opened)
        for name, path in screens(place).items():
            await opened.open(path)
            wide = await opened.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], name
            for link in await opened.page.locator("header nav a").all():
                seen = await link.bounding_box()
                assert seen, name
                assert seen["x"] + seen["width"] <= PHONE["width"], name
            if KEEPS_PICTURES and name == "asking":
                await opened.picture(f"{name}-phone")
        await opened.open(f"/executions/{place.asking}")
        box = await opened.page.locator("button", has_text="Approve this plan").bounding_box()
        assert box
        assert box["height"] >= 44
        await opened.must_be_accessible()


async def test_the_first_update_leaves_what_has_not_changed(browser: Browser, place: Town) -> None:
    async with window(browser, place.url) as opened:
        await signed_in(place, opened)
        await opened.page.add_init_script(
            """
            window.shown = 0;
            const told = EventSource.prototype;
            const {set} = Object.getOwnPropertyDescriptor(told, "onmessage");
            Object.defineProperty(told, "onmessage", {set(f) {
              set.call(this, (message) => { f(message); window.shown += 1; });
            }});
            """
        )
        await opened.open(f"/executions/{place.asking}")
        button = await opened.page.query_selector("button:has-text('Approve this plan')")

        async def was_updated() -> bool:
            return bool(await opened.page.evaluate("window.shown > 0"))

        await until(was_updated)
        assert button
        assert await button.evaluate("it => it.isConnected")


async def test_a_keyboard_is_enough(browser: Browser, place: Town) -> None:
    async with window(browser, place.url) as opened:
        await signed_in(place, opened)
        await opened.open("/inbox")
        await opened.page.keyboard.press("Tab")
        focused = "document.activeElement.textContent.trim()"
        assert await opened.page.evaluate(focused) == "Skip to the content"
        await opened.page.keyboard.press("Enter")
        assert await opened.page.evaluate("document.activeElement.id") == "main"
        seen: list[str] = []
        while "Approve this plan" not in seen:
            await opened.page.keyboard.press("Tab")
            seen.append(await opened.page.evaluate(focused))
            assert len(seen) < 15
