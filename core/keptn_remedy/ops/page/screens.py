"""The screens: what each reads from the journal, and the template that shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from keptn_remedy.guardrails.brake import past_pauses
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.guardrails.words import explain
from keptn_remedy.journal import Browsed, Browsing, History, Hour, Record, WholeRecord
from keptn_remedy.ops.asked_undos import AskedUndos
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.page import pictures
from keptn_remedy.ops.page.address import (
    FILTERS,
    SCREENS,
    WITHOUT_KEPTN,
    Address,
    WrongFilter,
    browsed,
)
from keptn_remedy.ops.page.gate import Visitor
from keptn_remedy.ops.page.links import links
from keptn_remedy.ops.page.problem_screens import Problems
from keptn_remedy.ops.page.render import Templates
from keptn_remedy.ops.page.views import actions as action_views
from keptn_remedy.ops.page.views import rails
from keptn_remedy.ops.page.views.execution import execution_view
from keptn_remedy.ops.page.views.inbox import inbox, open_undo
from keptn_remedy.ops.page.views.now import SHOWN, now_view, refused_row
from keptn_remedy.ops.page.views.problems import ProblemRow
from keptn_remedy.ops.page.views.shown import row
from keptn_remedy.registry import Registry
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.page_paths import PREFIX, id_in

PAGE_ROWS = 50
LIST_ROWS = 100
DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600
NAMES_SECONDS = 30.0
HOURS_SHOWN = 24
TARGETS = 50


class Told(NamedTuple):
    """What the page says of an order, and in which tone."""

    words: str
    tone: str


TOLD = {
    "approve": Told("You approved it. It goes on now.", "good"),
    "deny": Told("You denied it. It ends as refused.", "good"),
    "undo": Told("You ordered the undo. It is carried out now.", "good"),
    "deny-undo": Told("You denied the undo. What it did stays.", "good"),
}
"""By what the address says after an order; any other words there are not shown."""


class NotThere(Exception):
    """There is nothing at this address."""


class ScreenPart(NamedTuple):
    """The content of a screen, and how many executions wait for a person."""

    title: str
    html: str
    waiting: int = 0


class ScreenRequest(NamedTuple):
    """Which screen somebody asks for, and how many executions wait for a person."""

    address: Address
    visitor: Visitor
    waiting: int


class ScreenSources(NamedTuple):
    """All that screens read from. `link_templates` are by the words of their links; `problems`
    are there in standalone mode.
    """

    journal: Browsing
    registry: Registry
    pauses: Pauses
    policy: PolicyFile
    readiness: Callable[[], Awaitable[Readiness]]
    clock: Clock
    link_templates: Mapping[str, str]
    asked_undos: AskedUndos
    problems: Problems | None = None


class Screens:
    """Makes the content of each screen. Reading and rendering happen in threads."""

    def __init__(self, sources: ScreenSources, templates: Templates, *, takes_tokens: bool) -> None:
        self._sources = sources
        self._journal = sources.journal
        self._templates = templates
        self._takes_tokens = takes_tokens
        self._hours: dict[int, Hour] = {}
        self._names: tuple[float, Any] | None = None
        self._problems = sources.problems

    @property
    def has_problems(self) -> bool:
        """Whether problems come without Keptn."""
        return self._problems is not None

    @property
    def listed(self) -> list[tuple[str, str]]:
        """The screens that there are: addresses and names."""
        return [each for each in SCREENS if self.has_problems or each[0] != WITHOUT_KEPTN]

    async def part(self, address: Address, visitor: Visitor, **more: Any) -> ScreenPart:
        """The content at an address, as this visitor may see it.

        Raises:
            NotThere: nothing is there.
            JournalError: the journal can't be read.
        """
        path, waiting = address.path, await self._waiting()
        asked = ScreenRequest(address, visitor, waiting)
        if path.startswith(PREFIX):
            return await self._execution(asked, **more)
        if path.startswith("/problems") and self._problems:
            show = self._all_problems if path == WITHOUT_KEPTN else self._problem
            return await show(asked, self._problems)
        make = {
            "/": self._now,
            "/inbox": self._inbox,
            "/executions": self._executions,
            "/rails": self._rails,
            "/actions": self._actions,
        }.get(path)
        if make is None:
            raise NotThere(path)
        return await make(asked)

    async def _waiting(self) -> int:
        """How many executions, undos and problems wait for a person; 100 of each stand for more."""
        asking = await self._journal.browse(Browsed(result="waiting"), limit=LIST_ROWS)
        undos = await self._sources.asked_undos.waiting()
        return len(asking) + len(undos) + len(await self._given_to_people())

    async def _given_to_people(self) -> list[ProblemRow]:
        return await self._problems.given_to_people(LIST_ROWS) if self._problems else []

    async def _now(self, asked: ScreenRequest) -> ScreenPart:
        journal, now = self._journal, self._sources.clock.now()
        opened = await journal.browse(Browsed(result="open"), limit=LIST_ROWS)
        asking = await journal.browse(Browsed(result="waiting"), limit=LIST_ROWS)
        recent = [r for r in await journal.browse(Browsed(), limit=40) if r.state == "finished"]
        refused = await journal.refused(now - DAY_SECONDS, 20)
        hours, backlog = await self._last_hours(now), await journal.backlog()
        readiness = await self._sources.readiness()
        trouble = [*readiness.reasons, *readiness.degraded]
        problems = await self._problems.opened(SHOWN) if self._problems else []

        def render() -> str:
            pause = self._sources.pauses.current
            troubles = [it for it in trouble if not (pause and it.startswith("paused by"))]
            view = now_view(opened, asking, recent[:10], refused, hours, backlog, troubles)
            return self._html(
                "now.html",
                asked,
                view=view,
                problems_open=problems,
                has_problems=self.has_problems,
                outcomes=pictures.outcomes(hours),
                times=pictures.times(hours),
            )

        return ScreenPart("Now", await asyncio.to_thread(render), asked.waiting)

    async def _inbox(self, asked: ScreenRequest) -> ScreenPart:
        found = await self._journal.questions(LIST_ROWS)
        undos = await self._sources.asked_undos.waiting()
        given = await self._given_to_people()

        def render() -> str:
            asks = [open_undo(ask, record) for ask, record in undos]
            return self._html("inbox.html", asked, found=inbox(found), undos=asks, given=given)

        return ScreenPart("Inbox", await asyncio.to_thread(render), asked.waiting)

    async def _executions(self, asked: ScreenRequest) -> ScreenPart:
        found, mistake, asking = list[Record](), "", frozenset[str]()
        try:
            wanted, before = browsed(asked.address.query, self._sources.clock.now())
            found = await self._journal.browse(wanted, before=before, limit=PAGE_ROWS + 1)
            asking = await self._journal.asking(found)
        except WrongFilter as error:
            mistake = str(error)
        names = await self._known_names()
        is_more = len(found) > PAGE_ROWS
        shown = found[:PAGE_ROWS]

        def render() -> str:
            return self._html(
                "executions.html",
                asked,
                found=[row(record, is_asking=record.id in asking) for record in shown],
                fields=_fields(names),
                results=RESULT_WORDS,
                given={name: asked.address.query.get(name, "") for name in FILTERS},
                mistake=mistake,
                newest=asked.address.with_(before="") if asked.address.query.get("before") else "",
                older=asked.address.with_(before=str(shown[-1].cursor)) if is_more else "",
            )

        return ScreenPart("Executions", await asyncio.to_thread(render), asked.waiting)

    async def _execution(self, asked: ScreenRequest, told: Told | None = None) -> ScreenPart:
        execution_id = id_in(asked.address.path)
        record = await self._journal.record(execution_id)
        if record is None:
            raise NotThere(execution_id)

        told = told or TOLD.get(asked.address.query.get("told", ""))
        said = await self._said_by_rails(record)
        problem = await self._problems.row_of(record.context) if self._problems else None

        def render() -> str:
            view = execution_view(record, links(self._sources.link_templates, record), said)
            return self._html("execution.html", asked, view=view, told=told, problem=problem)

        return ScreenPart(
            f"{record.action} · {record.service}", await asyncio.to_thread(render), asked.waiting
        )

    async def _all_problems(self, asked: ScreenRequest, problems: Problems) -> ScreenPart:
        address = asked.address
        view = await problems.listed(address.query)

        def render() -> str:
            return self._html(
                "problems.html",
                asked,
                view=view,
                newest=address.with_(before="") if address.query.get("before") else "",
                older=address.with_(before=view.older) if view.older else "",
            )

        return ScreenPart("Problems", await asyncio.to_thread(render), asked.waiting)

    async def _problem(self, asked: ScreenRequest, problems: Problems) -> ScreenPart:
        episode_id = unquote(asked.address.path.removeprefix(f"{WITHOUT_KEPTN}/"))
        view = await problems.one(episode_id)
        if view is None:
            raise NotThere(episode_id)

        def render() -> str:
            return self._html("problem.html", asked, view=view)

        title = f"{view.row.name} · {view.row.scope}"
        return ScreenPart(title, await asyncio.to_thread(render), asked.waiting)

    async def _said_by_rails(self, record: WholeRecord) -> list[str]:
        """What each rail found when it was asked about an execution; empty where none was."""
        at = await self._journal.admitted_at(record.id)
        refused_by = str(record.details.get("rail", "")) if record.state == "finished" else ""
        if at is None and not (refused_by and record.finished_at):
            return []
        moment = at if at is not None or not record.finished_at else record.finished_at.timestamp()
        rules = self._sources.policy.rules

        def ask(history: History) -> list[str]:
            return rails.said_then(record, rules, history, moment or 0.0, refused_by)

        return await self._journal.past(ask)

    async def _rails(self, asked: ScreenRequest) -> ScreenPart:
        clock, policy, journal = self._sources.clock, self._sources.policy, self._journal
        now = clock.now()
        touched = await journal.touched(now - DAY_SECONDS, TARGETS)
        counted = await journal.past(
            lambda history: rails.count(touched, policy.rules, history, now, clock.wall_ahead)
        )
        refused = await journal.refused(now - DAY_SECONDS, LIST_ROWS)
        paused = await past_pauses(journal)

        def render() -> str:
            view = rails.RailsView(
                targets=counted.targets,
                at_once=counted.at_once,
                refused=[refused_row(each) for each in refused],
                parts=explain(policy.policy),
                source=rails.source(policy.in_force),
                problem=policy.problem or "",
                brake=rails.brake(paused),
            )
            return self._html("rails.html", asked, view=view)

        return ScreenPart("Rails", await asyncio.to_thread(render), asked.waiting)

    async def _actions(self, asked: ScreenRequest) -> ScreenPart:
        registry = self._sources.registry

        def render() -> str:
            found = action_views.actions(registry.entries, registry.broken)
            return self._html("actions.html", asked, found=found)

        return ScreenPart("Actions", await asyncio.to_thread(render), asked.waiting)

    def _html(self, template: str, asked: ScreenRequest, **values: Any) -> str:
        pauses = self._sources.pauses
        return self._templates.render(
            template,
            visitor=asked.visitor,
            waiting=asked.waiting,
            takes_tokens=self._takes_tokens,
            here=str(asked.address),
            pause=pauses.current,
            is_by_file=pauses.by_file is not None,
            **values,
        )

    async def _last_hours(self, now: float) -> list[Hour]:
        """The last hours; what has passed is read once."""
        newest = int(now) // HOUR_SECONDS * HOUR_SECONDS
        wanted = [newest - HOUR_SECONDS * n for n in range(HOURS_SHOWN)][::-1]
        missing = [begin for begin in wanted if begin not in self._hours]
        found = {hour.begin: hour for hour in await self._journal.hours(missing)} if missing else {}
        known = {**self._hours, **found}
        # What ends now may still be stored in the hour before.
        settled = {begin for begin in wanted if begin + HOUR_SECONDS + 60 < now}
        self._hours = {begin: known[begin] for begin in wanted if begin in settled}
        return [known[begin] for begin in wanted]

    async def _known_names(self) -> Any:
        now = self._sources.clock.monotonic()
        if self._names is None or now - self._names[0] > NAMES_SECONDS:
            self._names = (now, await self._journal.names())
        return self._names[1]


RESULT_WORDS = (
    "pass",
    "warning",
    "fail",
    "errored",
    "aborted",
    "refused",
    "open",
    "waiting",
)


def _fields(names: Any) -> list[tuple[str, str, Any]]:
    return [
        ("project", "Project", names.projects),
        ("stage", "Stage", names.stages),
        ("service", "Service", names.services),
        ("action", "Action", names.actions),
    ]
