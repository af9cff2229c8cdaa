"""A real Chromium that looks at the page, and what it must never see."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDE, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
# What axe calls so must not be on any screen.
GRAVE = ("serious", "critical")
# Runs before the page's own script; the browser reports there what its policy forbids.
_WATCH = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (e) =>
  broken.push(e.violatedDirective + " " + e.blockedURI));
window.alert = (words) => broken.push("alert " + words);
window.hacked = (words) => broken.push("hacked " + words);
"""


def why_no_browser() -> str | None:
    """Why there is none here; None if there is."""
    if shutil.which("chromium") is None:
        return "Chromium is not installed: apt-get install chromium"
    return None if AXE.exists() else "axe-core is not installed: run `make browser`"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser of this machine, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """One window with cookies of its own. `broken` is what went wrong in it so far."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.broken: list[str] = []
        page.on("pageerror", lambda error: self.broken.append(f"error {error}"))
        page.on("dialog", lambda dialog: self.broken.append(f"dialog {dialog.message}"))
        page.on("console", self._heard)
        page.on("request", self._asked)

    async def open(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def sign_in(self, token: str, path: str = "/") -> None:
        await self.open(f"/sign-in?next={path}")
        await self.page.fill("#token", token)
        await self.page.click("main button")
        await self.page.wait_for_url(f"**{path}")

    async def is_live(self) -> None:
        """Return once the page follows the journal."""
        await self.page.wait_for_selector(".live.on")

    async def must_be_sound(self) -> None:
        """Nothing was executed, forbidden or fetched from elsewhere."""
        self.broken += await self.page.evaluate("window.broken")
        assert self.broken == []

    async def must_be_accessible(self) -> None:
        """axe finds nothing grave."""
        await self.page.evaluate(AXE.read_text("utf-8"))
        found: Any = await self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations'], elementRef: false})"
        )
        grave = [
            f"{it['id']}: {it['help']}: {[node['html'][:200] for node in it['nodes'][:3]]}"
            for it in found["violations"]
            if it["impact"] in GRAVE
        ]
        assert grave == [], self.page.url

    async def picture(self, name: str, *, whole: bool = False) -> None:
        """Keep what is seen for the documents."""
        await self.page.screenshot(
            path=PICTURES / f"{name}.png", full_page=whole, animations="disabled"
        )

    def _heard(self, message: Any) -> None:
        # A 401 or 409 that is meant is told there as well.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.broken.append(f"console {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.url):
            self.broken.append(f"fetched {request.url}")


@asynccontextmanager
async def window(
    browser: Browser, url: str, *, size: ViewportSize = WIDE, scheme: Any = "light"
) -> AsyncIterator[Window]:
    """A new window."""
    context = await browser.new_context(
        viewport=size, color_scheme=scheme, locale="en-GB", timezone_id="Europe/Berlin"
    )
    try:
        await context.add_init_script(_WATCH)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        yield Window(page, url)
    finally:
        await context.close()
