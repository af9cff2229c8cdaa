"""What a real Prometheus and a real Alertmanager answer while something is at fault: nothing of it
is taken for a remedy that helped. Each fault stands beside what proves that it is there.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from keptn_remedy.standalone import prometheus as asked
from keptn_remedy.standalone.alertmanager import Alertmanagers
from keptn_remedy.standalone.judge import Judge, Subject, Window
from keptn_remedy.standalone.judges import Judges
from keptn_remedy.standalone.ladder import Finding
from keptn_remedy.standalone.prometheus import NoAnswer, Prometheus
from keptn_remedy.standalone.rules import Criterion
from tests import monitoring
from tests.waiting import until

MAX_AGE = 10.0
RULES = """groups: [{name: g, rules: [
  {alert: TooManyErrors, expr: errors > 5}, {alert: Gone, expr: gone > 5},
  {alert: NotANumber, expr: broken > 5}, {alert: Misspelt, expr: erors > 5},
  {alert: Absent, expr: absent(errors)}, {alert: Fires, expr: errors < 5}]}]"""
GOOD = Criterion(kind="promql", query="errors", want="< 5")
BY_SLO = Criterion(
    kind="slo",
    slo={
        "document": {
            "objectives": [{"sli": "errors", "pass": [{"criteria": ["<5"]}]}],
            "total_score": {"pass": "90%"},
        },
        "queries": {"errors": "errors"},
    },
)


def number(query: str, want: str = "< 5") -> Criterion:
    return Criterion(kind="promql", query=query, want=want)


def alert(name: str, *, is_listed: bool | None = False) -> Subject:
    return Subject(name, {"alertname": name, "service": "carts"}, is_listed)


class Target:
    """What is measured, until it is closed. It also serves a page to log in at."""

    def __init__(self) -> None:
        self.lines = {
            'errors{service="carts"}': "0",
            'gone{service="carts"}': "0",
            'broken{service="carts"}': "NaN",
            'several{pod="a"}': "0",
            'several{pod="b"}': "0",
        }
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/{any:.*}", self._page)
        self.runner = web.AppRunner(app, shutdown_timeout=0.01)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="".join(f"{name} {at}\n" for name, at in self.lines.items()))

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="<html>log in</html>", content_type="text/html")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Yields its address."""
        await self.runner.setup()
        try:
            await web.TCPSite(self.runner, "127.0.0.1", 0).start()
            yield "{}:{}".format(*self.runner.addresses[0])
        finally:
            await self.runner.cleanup()


class Scene:
    """The servers, and a judge that asks them."""

    def __init__(self, http: ClientSession, server: monitoring.Prometheus, target: Target) -> None:
        self.http, self.server, self.target = http, server, target
        self.prometheus = Prometheus(http, server.url, time.time)
        self.judge = Judge(self.prometheus, MAX_AGE)

    async def says(
        self, criterion: Criterion = GOOD, subject: Subject | None = None, **more: Any
    ) -> Finding:
        return await self.judge.look(criterion, subject or alert("TooManyErrors"), **more)

    async def is_good(self) -> bool:
        """Whether there is nothing amiss: an alert that is gone, and a number as wanted."""
        found = [await self.says(each) for each in (GOOD, Criterion(), BY_SLO)]
        return all(each.good for each in found)

    async def answers(self, query: str) -> bool:
        """Whether Prometheus itself answers a number, as a careless judge would ask it."""
        try:
            await self.prometheus.number(query)
        except NoAnswer:
            return False
        return True


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    target = Target()
    (folder / "rules.yml").write_text(RULES)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(target.served())
        config: Mapping[str, Any] = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": [{"job_name": "carts", "static_configs": [{"targets": [address]}]}],
        }
        server = monitoring.Prometheus(folder / "prom", config, options=())
        stack.callback(server.kill)
        await server.start()
        http = await stack.enter_async_context(ClientSession())
        it = Scene(http, server, target)
        await until(it.is_good, within_seconds=60)
        yield it


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prometheus that was started just now is believed, so that each fault shows by itself."""
    monkeypatch.setattr(asked, "DISTRUST_SECONDS", 0.0)


@pytest.mark.timeout(300)
async def test_no_fault_of_measuring_is_taken_for_help(
    tmp_path: Path,
    alertmanager_program: monitoring.AlertmanagerProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: dict[str, Finding] = {}
    async with scene(tmp_path) as it:
        del it.target.lines['gone{service="carts"}']

        async def is_gone() -> bool:
            return not await it.answers("gone")

        await until(is_gone, within_seconds=60)
        said |= {
            "series gone": await it.says(number("gone")),
            "series gone, alert": await it.says(Criterion(), alert("Gone")),
            "NaN": await it.says(number("broken")),
            "NaN, alert": await it.says(Criterion(), alert("NotANumber")),
            "two series": await it.says(number("several")),
            "misspelt": await it.says(number("erors")),
            "misspelt, alert": await it.says(Criterion(), alert("Misspelt")),
            "misspelt, summed": await it.says(number("sum(erors) / sum(errors)")),
            "absent, alert": await it.says(Criterion(), alert("Absent")),
            "absent, of nothing": await it.says(number("absent(erors)", "= 1")),
            "absent, of something": await it.says(number("absent(errors)", "= 0")),
            "silence": await it.says(Criterion(), alert("Fires")),
            "silence, gone": await silenced(it, tmp_path, alertmanager_program),
            "login page": await elsewhere(it, at_the_target(it)).look(GOOD, alert("x")),
        }
        later = time.time() + 100
        assert await it.prometheus.at(later).number("errors") == 0
        said["future time"] = await it.says(BY_SLO, window=Window(later))
        said["several Prometheus"] = await several(it).look(GOOD, alert("TooManyErrors"))
        said["several Prometheus, alert"] = await several(it).look(
            Criterion(), alert("TooManyErrors")
        )
        said |= await stale(it, monkeypatch)
        it.server.kill()
        said["judge away"] = await it.says()

    helped = [name for name, each in said.items() if each.good]
    assert helped == []
    # Only what is known is bad: everything else can't be told.
    known = {"silence", "silence, gone"}
    assert {name for name, each in said.items() if each.good is False} == known
    for name, why in WHY.items():
        assert why in said[name].text, name


WHY = {
    "series gone": "no data",
    "series gone, alert": "no evidence: gone answers nothing",
    "NaN": "no data: the answer is nan",
    "NaN, alert": "no evidence: broken is no number",
    "two series": "2 series where one number is meant",
    "misspelt, alert": "no evidence: erors answers nothing",
    "absent, alert": "the remedy needs evidence",
    "absent, of nothing": "no data for erors",
    "silence": "the alert Fires is firing",
    "silence, gone": "Alertmanager still lists TooManyErrors",
    "login page": "which is no answer of its API",
    "future time": f"s old, more than {MAX_AGE:g} s",
    "several Prometheus": "Prometheus can't be asked",
    "just started": "Prometheus has just started",
    "stale after a restart": f"s old, more than {MAX_AGE:g} s",
    "target dead, counted": f"s old, more than {MAX_AGE:g} s",
    "judge away": "Prometheus can't be asked",
}


async def silenced(it: Scene, folder: Path, program: monitoring.AlertmanagerProgram) -> Finding:
    """An alert that Prometheus no longer has, and that Alertmanager lists under a silence."""
    config = monitoring.webhook_config("http://127.0.0.1:9/")
    server = monitoring.Alertmanager(folder / "am", program, config)
    try:
        await server.start()
        labels = {"alertname": "TooManyErrors", "service": "carts"}
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": "service", "value": "carts", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ada",
            "comment": "not now",
        }
        for path, body in (("silences", silence), ("alerts", [{"labels": labels}])):
            async with it.http.post(f"{server.url}/api/v2/{path}", json=body) as answer:
                assert answer.status == 200, await answer.text()
        alertmanagers = Alertmanagers(it.http, [server.url], "remedy", time.time)
        listed = await alertmanagers.listed()
        assert listed
        assert listed.says(listed.firing | listed.suppressed) == "suppressed"
    finally:
        server.kill()
    return await it.says(Criterion(), alert("TooManyErrors", is_listed=True))


def at_the_target(it: Scene) -> str:
    return "http://{}:{}".format(*it.target.runner.addresses[0])


def elsewhere(it: Scene, url: str) -> Judge:
    return Judge(Prometheus(it.http, url, time.time), MAX_AGE)


def several(it: Scene) -> Judges:
    """One that finds it good, and one that can't be asked."""
    return Judges([("good", it.judge), ("away", elsewhere(it, at_the_target(it)))])


async def stale(it: Scene, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """The target dies: while Prometheus is started again, and once more while it lives."""
    it.server.kill()
    await it.target.runner.cleanup()
    await it.server.start()

    async def is_old() -> bool:
        [age] = await it.prometheus.samples("time() - timestamp(errors)")
        return age.value > MAX_AGE

    assert await it.answers("errors")
    with monkeypatch.context() as patched:
        patched.setattr(asked, "DISTRUST_SECONDS", 30.0)
        young = await it.says()
    await until(is_old, within_seconds=60)
    assert await it.answers("errors")
    assert await it.answers("sum(max_over_time(errors[5m]))")
    return {
        "just started": young,
        "stale after a restart": await it.says(),
        "stale after a restart, alert": await it.says(Criterion()),
        "stale after a restart, slo": await it.says(BY_SLO),
        "target dead, counted": await it.says(number("sum(max_over_time(errors[5m]))")),
    }
