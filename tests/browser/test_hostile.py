"""An event that wants to take the page over, on every screen: nothing of it is executed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.support.page_paths import path_of
from tests.browser.pages import PHONE, window
from tests.core.ops.page.surfing import ASK, house
from tests.providing import ops_url

pytestmark = pytest.mark.asyncio(loop_scope="session")
SPITE = (
    "<script>hacked(1)</script>",
    "\"'><img src=x onerror=hacked(2)>",
    "</title></style></textarea></pre><svg onload=hacked(3)>",
    "javascript:hacked(4)",
    "{{ 7 * 191 }}{% raw %}",
    "' onmouseover='hacked(5)' x='",
    "\u202e<iframe srcdoc='<script>parent.hacked(6)</script>'>",
)


class Spiteful(PlannedAction):
    """Says <script>hacked(0)</script> in everything that it says."""

    name = "spiteful"
    Value = dict[str, str]

    async def plan(self, context: Context, value: dict[str, str]) -> Plan:
        changes = (Change(it, it, it, {it: [it]}) for it in SPITE)
        return Plan(tuple(changes), SPITE)

    async def apply(self, context: Context, plan: Plan) -> None: ...

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.failed(" ".join(SPITE), **{it: it for it in SPITE})

    async def undo(self, context: Context, plan: Plan) -> str:
        return " ".join(SPITE)


async def test_nothing_that_an_event_or_an_action_says_is_executed(
    browser: Browser, tmp_path: Path
) -> None:
    text = " ".join(SPITE)
    policy = ASK.replace("dial", "spiteful").replace(
        "a person looks first", "<b onclick=hacked(7)>"
    )
    links = {"link_bridge": "https://keptn.example/{service}?c={context}&i={id}"}
    async with house(tmp_path, policy=policy, actions=(Spiteful,), **links) as home:
        fields = {
            "project": f"p{text}{'W' * 150}",
            "stage": text,
            "service": f"//evil.example/{text}",
        }
        problem = {"ProblemTitle": text, "ProblemURL": "javascript:hacked(8)"}
        asking, denied = f"ask {text[:300]}", f"no {text[:300]}"
        for event_id in (asking, denied):
            fields["service"] += "x"
            sent = {"labels": {text: text}, "problem": problem}
            await home.send("spiteful", {text: text}, id=event_id, **fields, **sent)
            await home.asks(event_id)
        await home.service.journal.answer(denied, "approved", text, text)
        await home.has_ended(denied)
        await home.service.pauses.pause(text, text)
        url = ops_url(home.service, "")
        async with window(browser, url) as opened:
            await opened.sign_in(home.tokens["operator"])
            addresses = [path_of(asking), path_of(denied), "/executions?service=" + "%3Cscript%3E"]
            for path in ("/", "/inbox", "/executions", "/rails", "/actions", *addresses):
                await opened.open(path)
                await opened.is_live()
                await opened.page.hover("main h1")
                shown = await opened.page.locator("main").inner_text()
                assert "1337" not in shown.replace("hacked", "")
                await opened.must_be_sound()
                for handler in ("onerror", "onload", "onmouseover", "onclick", "srcdoc"):
                    assert await opened.page.locator(f"[{handler}]").count() == 0, path
                links = await opened.page.evaluate("[...document.links].map(a => a.href)")
                ours = (url, "https://keptn.example/")
                assert [it for it in links if not it.startswith(ours)] == []
            await opened.page.set_viewport_size(PHONE)
            for path in ("/", "/executions", "/rails"):
                await opened.open(path)
                wide = await opened.page.evaluate("document.documentElement.scrollWidth")
                assert wide <= PHONE["width"], path


async def test_a_browser_asks_the_page_for_nothing_else(browser: Browser, tmp_path: Path) -> None:
    async with (
        house(tmp_path, page_public=True) as home,
        window(browser, ops_url(home.service, "")) as opened,
    ):
        asked: list[str] = []
        opened.page.on("request", lambda it: asked.append(it.url))
        await opened.open("/")
        await opened.is_live()
        names = {url.removeprefix(opened.url).partition("?")[0] for url in asked}
        static = {"/static/page.css", "/static/page.js", "/static/icon.svg"}
        assert names - static == {"/", "/live"}
        await opened.must_be_sound()
