"""Where `kill -9` is to hit an action: before its change lands, before the answer, or after it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

from aiohttp import web

from keptn_remedy.testing.http_peer import hang_up
from tests.cluster.client import Cluster
from tests.cluster.gateway import LOST
from tests.cluster.resizing import Resizing

Moment = Literal["planned", "landed", "verifying"]
MOMENTS: tuple[Moment, ...] = ("planned", "landed", "verifying")
# What every action sends besides its change.
_ASIDE = ("/events", "accessreviews")


class KillPoints:
    """Lets requests wait at a moment, until the process that sent them is dead.

    `effects` counts the changes that landed, by what they belong to.
    """

    def __init__(self) -> None:
        self.moment: Moment | None = None
        self.reached = set[str]()
        self.effects = Counter[str]()
        self._changed = set[str]()
        self._dead, self._news = asyncio.Event(), asyncio.Event()

    def aim_at(self, moment: Moment) -> None:
        self.moment = moment
        self.reached.clear()
        self._dead = asyncio.Event()

    async def all_reached(self, owners: set[str], *, within_seconds: float) -> None:
        """Wait until each of them has a request that waits; TimeoutError if not in time."""
        try:
            async with asyncio.timeout(within_seconds):
                while not self.reached >= owners:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            error.add_note(f"{self.moment}: not reached: {sorted(owners - self.reached)}")
            raise

    def killed(self) -> None:
        """The process is dead: what waits is lost, and nothing waits any more."""
        self.moment = None
        self._dead.set()

    async def passes(self, owner: str, moment: Moment) -> bool:
        """Whether a request goes on; False once its sender was killed."""
        if not owner or self.moment != moment:
            return True
        self.reached.add(owner)
        self._news.set()
        await self._dead.wait()
        return False

    async def may_begin(self, owner: str, *, is_change: bool) -> bool:
        if is_change:
            return await self.passes(owner, "planned")
        return owner not in self._changed or await self.passes(owner, "verifying")

    async def may_be_answered(self, owner: str) -> bool:
        """Note that a change landed."""
        self.effects[owner] += 1
        self._changed.add(owner)
        return await self.passes(owner, "landed")


class KillingGateway(Resizing):
    """Before the API server; `owners` are what requests belong to, by a part of their URLs."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.points = KillPoints()
        self.owners: Mapping[str, str] = {}

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        owner, is_change = self._owner(request), _is_change(request)
        try:
            if not await self.points.may_begin(owner, is_change=is_change):
                return hang_up(request)
            answer = await self._answer(request)
        except LOST:
            return hang_up(request)
        landed = is_change and answer.status < 300
        if landed and not await self.points.may_be_answered(owner):
            return hang_up(request)
        return answer

    def _owner(self, request: web.BaseRequest) -> str:
        found = [self.owners[part] for part in self.owners if part in str(request.rel_url)]
        return found[0] if found else ""


def _is_change(request: web.BaseRequest) -> bool:
    is_aside = any(part in request.path for part in _ASIDE)
    return request.method != "GET" and "dryRun" not in request.query and not is_aside


@asynccontextmanager
async def hooked(points: KillPoints) -> AsyncIterator[str]:
    """The URL of a peer that webhooks call: what they POST lands, a GET tells how often it did."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        owner = request.path.strip("/")
        is_change = request.method == "POST"
        await request.read()
        if not await points.may_begin(owner, is_change=is_change):
            return hang_up(request)
        if is_change and not await points.may_be_answered(owner):
            return hang_up(request)
        return web.json_response({"done": points.effects[owner] > 0})

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        points.killed()
        await runner.cleanup()
