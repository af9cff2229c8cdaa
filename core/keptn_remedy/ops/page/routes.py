"""The routes of the page that only show something, and signing in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from aiohttp import web

from keptn_remedy.journal import JournalError
from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.page import gate as gates
from keptn_remedy.ops.page.address import Address, local
from keptn_remedy.ops.page.gate import Gate, Visitor
from keptn_remedy.ops.page.render import STATIC, Templates, static_file
from keptn_remedy.ops.page.screens import NotThere, ScreenPart, Screens

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Forms would come without an origin if nothing were sent at all.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FOREVER = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
Show = Callable[[web.Request, Visitor], Awaitable[web.StreamResponse]]
PageHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOTHING_HERE = "There is nothing at this address."
UNREADABLE = "The journal can't be read now. Try again; /readyz says why."


class PageRoutes:
    """Answers with whole pages: the content of a screen, and what surrounds it."""

    def __init__(self, gate: Gate, screens: Screens, templates: Templates, version: str) -> None:
        self.gate = gate
        self.screens = screens
        self._templates = templates
        self._version = version

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        for address, _ in self.screens.listed:
            router.add_get(address, self.seen(self._screen))
        if self.screens.has_problems:
            router.add_get("/problems/{id:[^/]+}", self.seen(self._screen))
        router.add_get("/executions/{id:[^/]+}", self.seen(self._screen))
        router.add_get("/sign-in", self.caught(self._sign_in))
        router.add_post("/sign-in", self.caught(self._signed_in))
        router.add_post("/sign-out", self.caught(self._sign_out))
        router.add_get("/static/{name}", self._static)

    def seen(self, show: Show) -> PageHandler:
        """A handler for visitors only; others are asked to sign in."""

        async def handle(request: web.Request) -> web.StreamResponse:
            visitor = await self.gate.visitor(request)
            # The cookie isn't sent along a link on another site, such as a chat's: from a page of
            # ours it is, so the address is opened once more.
            is_from_elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site"
            if visitor is None or (visitor.operator is None and is_from_elsewhere):
                return self._opening(request, is_public=visitor is not None)
            return await show(request, visitor)

        return self.caught(handle)

    def caught(self, handle: PageHandler) -> PageHandler:
        """A handler whose errors are told on a page."""

        async def caught(request: web.Request) -> web.StreamResponse:
            try:
                return await handle(request)
            except HttpError as error:
                status, words = error.problem.status, error.problem.title
            except NotThere:
                status, words = 404, "This is not there. It may have been pruned."
            except JournalError:
                status, words = 503, UNREADABLE
            return await self.failed(request, status, words)

        return caught

    async def failed(self, request: web.Request, status: int, words: str) -> web.Response:
        """A page that says what went wrong."""
        at = request.rel_url.raw_path if request.method == "GET" else "/"
        main = self._templates.render("error.html", heading=str(status), words=words, back="/")
        visitor: Visitor | None = None
        with suppress(JournalError):
            visitor = await self.gate.visitor(request)
        return self.whole(
            ScreenPart("Error", main),
            Address(at, {}),
            visitor or Visitor(),
            status=status,
        )

    async def shown(
        self, address: Address, visitor: Visitor, *, status: int = 200, **more: Any
    ) -> web.Response:
        """The page at an address."""
        part = await self.screens.part(address, visitor, **more)
        return self.whole(part, address, visitor, status=status, live=str(address))

    def whole(
        self,
        part: ScreenPart,
        address: Address,
        visitor: Visitor,
        *,
        status: int = 200,
        live: str = "",
    ) -> web.Response:
        """A page: this content, and what surrounds it."""
        from markupsafe import Markup

        text = self._templates.render(
            "layout.html",
            title=part.title,
            main=Markup(part.html),  # noqa: S704  made by a template that escapes
            screens=self.screens.listed,
            here=address.path,
            address=str(address),
            visitor=visitor,
            takes_tokens=self.gate.takes_tokens,
            waiting=part.waiting,
            live=live,
            version=self._version,
        )
        return html(text, status)

    async def _screen(self, request: web.Request, visitor: Visitor) -> web.Response:
        address = Address(request.rel_url.raw_path, dict(request.query))
        return await self.shown(address, visitor)

    def _opening(self, request: web.Request, *, is_public: bool) -> web.Response:
        address = local(str(request.rel_url))
        to = address if is_public else f"/sign-in?next={quote(address, safe='')}"
        return html(self._templates.render("opening.html", to=to), 200 if is_public else 401)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        to = local(request.query.get("next", "/"))
        visitor = await self.gate.visitor(request)
        if visitor and (visitor.operator or not self.gate.takes_tokens):
            return see(to)
        return self._sign_in_page(to)

    def _sign_in_page(self, to: str, mistake: str = "", status: int = 200) -> web.Response:
        takes = self.gate.takes_tokens
        main = self._templates.render("sign_in.html", next=to, mistake=mistake, takes_tokens=takes)
        return self.whole(
            ScreenPart("Sign in", main), Address("/sign-in", {}), Visitor(), status=status
        )

    async def _signed_in(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        to = local(form.get("next", "/"))
        try:
            _, cookie = await self.gate.sign_in(request, form.get("token", ""))
        except HttpError as error:
            answer = self._sign_in_page(to, error.problem.title, error.problem.status)
            answer.headers.update(error.headers)
            return answer
        answer = see(to)
        gates.keep(answer, request, cookie)
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        visitor = await self.gate.visitor(request)
        if visitor and visitor.operator:
            form = await read_form(request)
            gates.require_form(request, visitor, form.get(gates.FORM_TOKEN, ""))
        answer = see("/")
        gates.forget(answer)
        return answer

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound
        return web.Response(
            body=static_file(name), content_type=STATIC[name], charset="utf-8", headers=_FOREVER
        )


def prefers_page(accept: str) -> bool:
    """Whether who sent this `Accept` is a browser; programs ask for JSON, or for anything."""
    return "text/html" in accept and "json" not in accept


def html(text: str, status: int = 200) -> web.Response:
    """A page."""
    return web.Response(
        status=status, text=text, content_type="text/html", charset="utf-8", headers=HEADERS
    )


def see(address: str) -> web.Response:
    """Send the browser on, by GET: repeating that does nothing."""
    return web.Response(status=303, headers={**HEADERS, "Location": address})


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        HttpError: it is none.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise HttpError(415, "Orders come from the forms of this page.")
    try:
        form = await request.post()
    except (ValueError, LookupError):
        raise HttpError(400, "The form can't be read.") from None
    return {name: value for name, value in form.items() if isinstance(value, str)}
