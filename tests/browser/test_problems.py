"""The screens of problems in a real browser: each screen, a phone, hostile alerts, and live."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.pages import PHONE, Window, window
from tests.browser.test_hostile import SPITE
from tests.browser.test_screens import KEEPS_PICTURES
from tests.clocks import MovedClock
from tests.providing import ops_url
from tests.standalone.rig import Rig, standalone

pytestmark = pytest.mark.asyncio(loop_scope="session")
REMEDIATION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - action: switch
          name: End the campaign
          value: {to: "off"}
          evaluation: {promql: {query: ERRORS, want: "< 0.05"}, window: 60s}
        - action: switch
          name: Send half of the visitors away
          value: {to: "half"}
          evaluation: {promql: {query: ERRORS, want: "< 0.05"}, window: 3m, hold_for: 30s}
        - action: switch
          name: Roll back
"""
ERRORS = 'sum(rate(errors_total{namespace="production"}[1m]))'
SERIES = 'errors_total{namespace="production"}'


@dataclass
class Street:
    """A service with three problems: one is judged, one was given to a person, one has closed."""

    rig: Rig
    url: str
    judged: str
    given: str
    closed: str

    @property
    def screens(self) -> dict[str, str]:
        return {
            "problems": "/problems",
            "problem": f"/problems/{self.judged}",
            "problem-given": f"/problems/{self.given}",
            "problem-closed": f"/problems/{self.closed}",
            "now": "/",
            "inbox": "/inbox",
        }


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[Street]:
    """As time was moved on by hand, it ends near that of the browser's clock."""
    began = datetime.now(UTC) - timedelta(minutes=25)
    query = f"'{ERRORS}'"
    async with standalone(
        folder,
        remediation=REMEDIATION.replace("ERRORS", query),
        clock=MovedClock(began.isoformat()),
        page_public=True,
    ) as rig:
        rig.world.series |= {ERRORS: 0.31, SERIES: 1}
        closed = await _began(rig, "f1", "payment")
        rig.world.series[ERRORS] = 0.01
        await rig.until_true(lambda: _is(rig, closed, "helped"))
        await rig.send(rig.world.resolve("f1"))
        await rig.until_true(lambda: _is(rig, closed, "closed"))
        rig.world.series[ERRORS] = ["1", "2"]
        given = await _began(rig, "f2", "cart")
        await rig.until_true(lambda: _is(rig, given, "escalated"))
        rig.world.series[ERRORS] = 0.31
        # What is shown then has just happened.
        rig.clock.forward(max(0.0, time.time() - 240 - rig.clock.now()))
        judged = await _began(rig, "f3", "checkout")
        falling = iter(range(10_000))

        def errors() -> float:
            return round(0.28 * math.exp(-next(falling) / 12) + 0.03, 4)

        await rig.until_true(lambda: _on_rung(rig, judged, 1))
        while not await _has_looked(rig, judged, 12):
            rig.world.series[ERRORS] = errors()
            await rig.pass_by(5)
        yield Street(rig, ops_url(rig.service, ""), judged, given, closed)


async def _began(rig: Rig, fingerprint: str, service: str) -> str:
    await rig.send(rig.world.fire(fingerprint, service=service))
    return (await rig.episodes())[0].id


async def _is(rig: Rig, episode_id: str, state: str) -> bool:
    return any(it.id == episode_id and it.state == state for it in await rig.episodes())


async def _on_rung(rig: Rig, episode_id: str, index: int) -> bool:
    return any(
        it.id == episode_id and it.index == index and it.state == "judging"
        for it in await rig.episodes()
    )


async def _has_looked(rig: Rig, episode_id: str, times: int) -> bool:
    whole = await rig.journal.whole_episode(episode_id)
    return len((whole.rungs[-1].numbers or {}).get("curve", [])) >= times


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    """One service for the tests that leave it as they found it."""
    async with street(tmp_path_factory.mktemp("street")) as found:
        yield found


async def is_sound(opened: Window, path: str) -> None:
    await opened.open(path)
    await opened.is_live()
    await opened.must_be_accessible()
    await opened.must_be_sound()


async def test_every_screen_of_problems_can_be_used_by_day_and_by_night(
    browser: Browser, place: Street
) -> None:
    async with window(browser, place.url, scheme="dark") as opened:
        await is_sound(opened, f"/problems/{place.given}")
    async with window(browser, place.url) as opened:
        for name in ("inbox", "problems", "problem"):
            await is_sound(opened, place.screens[name])
            if KEEPS_PICTURES and name != "inbox":
                await opened.picture(name)
        await opened.open(f"/problems/{place.judged}")
        page = opened.page
        assert await page.locator(".ladder li").count() == 4
        assert await page.locator(".ladder [aria-current=step]").count() == 1
        assert await page.locator(".curve .mark").count() == 2
        assert await page.locator(".curve .bound").count() == 1
        assert await page.locator("#next time[data-left]").inner_text()
        drawn = await page.locator(".curve polyline").bounding_box()
        assert drawn
        assert drawn["height"] > 60


async def test_a_phone_shows_the_problems_without_scrolling_sideways(
    browser: Browser, place: Street
) -> None:
    async with window(browser, place.url, size=PHONE) as opened:
        for name, path in place.screens.items():
            await opened.open(path)
            wide = await opened.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], name
        await is_sound(opened, f"/problems/{place.judged}")


async def test_a_hostile_alert_executes_nothing_and_an_open_page_follows_the_ladder(
    browser: Browser, tmp_path: Path
) -> None:
    text = " ".join(SPITE)
    files = REMEDIATION.replace("ERRORS", "errors").replace("TooManyErrors", "default")
    async with standalone(
        tmp_path,
        remediation=files.replace("End the campaign", "<b onclick=hacked(9)>"),
        page_public=True,
    ) as rig:
        rig.world.series["errors"] = 9
        alert = rig.world.fire("f1", alertname=text, zone=text)
        alert |= {"annotations": {"summary": text, "more": text}, "generatorURL": SPITE[3]}
        strange = {**alert, "labels": {"alertname": text, "team": text}, "fingerprint": "f2"}
        await rig.send(alert, strange)
        [episode] = await rig.episodes()
        url = ops_url(rig.service, "")
        async with window(browser, url) as watching, window(browser, url) as opened:
            await watching.open(f"/problems/{episode.id}")
            await watching.is_live()
            await watching.page.evaluate("window.loadedOnce = true")
            await rig.until_state("escalated", step=5)
            await rig.until_told()
            await watching.page.wait_for_selector("h1 >> text=given to a person")
            await watching.page.wait_for_selector(".ladder >> text=was told")
            assert await watching.page.evaluate("window.loadedOnce") is True
            await watching.must_be_sound()
            for path in ("/problems", f"/problems/{episode.id}", "/", "/inbox"):
                await opened.open(path)
                await opened.is_live()
                await opened.must_be_sound()
                shown = await opened.page.locator("main").inner_text()
                assert "1337" not in shown.replace("hacked", "")
                for handler in ("onerror", "onload", "onmouseover", "onclick", "srcdoc"):
                    assert await opened.page.locator(f"[{handler}]").count() == 0, path
                links = await opened.page.evaluate("[...document.links].map(a => a.href)")
                assert [it for it in links if not it.startswith(url)] == []
