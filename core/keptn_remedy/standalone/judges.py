"""The judge of several Prometheus: what helped has helped by all that they measure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import ClientSession
from yarl import URL

from keptn_remedy.standalone.judge import NOTHING, NOW, Before, Judge, Subject, Window
from keptn_remedy.standalone.ladder import Finding
from keptn_remedy.standalone.prometheus import Prometheus
from keptn_remedy.standalone.rules import Criterion
from keptn_remedy.standalone.sources import PrometheusServer


class Judges:
    """Asks each server. One that finds it bad decides; where none does, one that can't tell."""

    def __init__(self, judges: Sequence[tuple[str, Judge]]) -> None:
        self._judges = judges

    async def before(self, criterion: Criterion, seconds: float) -> Before:
        """What is measured before an act, by the first that measures something."""
        found = await asyncio.gather(
            *(judge.before(criterion, seconds) for _, judge in self._judges)
        )
        return next((each for each in found if each.value is not None), found[0])

    async def look(
        self,
        criterion: Criterion,
        subject: Subject,
        before: Before = NOTHING,
        window: Window = NOW,
    ) -> Finding:
        """What the criterion says now, as `Judge.look`."""
        found = await asyncio.gather(
            *(judge.look(criterion, subject, before, window) for _, judge in self._judges)
        )
        told = list(zip((name for name, _ in self._judges), found, strict=True))
        for said in (False, None, True):
            # Of those that say it is bad, one that says it is worse.
            for name, each in sorted(told, key=lambda one: not one[1].is_worse):
                if each.good is said:
                    return self._named(name, each)
        raise AssertionError("a judge says good, bad or that it can't tell")

    def _named(self, name: str, finding: Finding) -> Finding:
        if len(self._judges) == 1:
            return finding
        of_all = "all Prometheus agree" if finding.good else name
        return replace(finding, text=f"{of_all}: {finding.text}")


def judges_of(
    servers: PrometheusServer | None,
    http: ClientSession,
    now: Callable[[], float],
    at: float | None = None,
) -> Judges:
    """The judges that ask these servers; nobody where there are none. `now` is the Unix time."""
    if servers is None:
        return Judges([("", Judge(None, 0.0))])
    token, age = servers.token_file, servers.max_age
    return Judges(
        [
            (
                str(URL(url).with_user(None)),
                Judge(Prometheus(http, url, now, token, at), age),
            )
            for url in servers.addresses
        ]
    )
