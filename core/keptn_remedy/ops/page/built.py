"""The page, put together of its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.journal import Browsing, Journal
from keptn_remedy.ops.asked_undos import AskedUndos
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.ops.operators import Operators
from keptn_remedy.ops.page.gate import Gate
from keptn_remedy.ops.page.live import Live
from keptn_remedy.ops.page.orders import PageOrders
from keptn_remedy.ops.page.problem_screens import Problems
from keptn_remedy.ops.page.render import Templates
from keptn_remedy.ops.page.routes import NOTHING_HERE, PageRoutes, prefers_page
from keptn_remedy.ops.page.screens import Screens, ScreenSources
from keptn_remedy.ops.page.sessions import Sessions
from keptn_remedy.registry import Registry
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics


class BuiltPage:
    """The page's routes. `browsing` reads for it; `look` has the service heed an order at once.
    `problems` reads episodes, in standalone mode.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        browsing: Browsing,
        registry: Registry,
        pauses: Pauses,
        policy: PolicyFile,
        readiness: Callable[[], Awaitable[Readiness]],
        look: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
        mask: Mask,
        version: str,
        operators: Operators | None = None,
        token: OperatorToken | None = None,
        is_public: bool = False,
        link_templates: Mapping[str, str] | None = None,
        problems: Problems | None = None,
    ) -> None:
        sessions = Sessions(journal, clock.now)
        gate = Gate(
            operators, token, sessions, metrics, is_public=is_public, monotonic=clock.monotonic
        )
        templates = Templates(mask)
        asked_undos = AskedUndos(journal, clock.now)
        sources = ScreenSources(
            browsing,
            registry,
            pauses,
            policy,
            readiness,
            clock,
            link_templates or {},
            asked_undos,
            problems,
        )
        screens = Screens(sources, templates, takes_tokens=gate.takes_tokens)
        self._page = PageRoutes(gate, screens, templates, version)
        self._orders = PageOrders(self._page, journal, pauses, asked_undos, look, mask)
        self._live = Live(
            screens, browsing, gate, stamp=lambda: (pauses.current, str(policy.in_force))
        )

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        self._page.add_to(router)
        self._orders.add_to(router)
        router.add_get("/live", self._live.serve)

    async def close(self) -> None:
        """Follow the journal no more; what pages are still open is told nothing more."""
        await self._live.close()

    @property
    def problems(self) -> Middleware:
        """Tells browsers on a page that there is nothing at an address, or not by that method."""

        @web.middleware
        async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
                if not prefers_page(request.headers.get("Accept", "")):
                    raise
                return await self._page.failed(request, error.status, NOTHING_HERE)

        return told
