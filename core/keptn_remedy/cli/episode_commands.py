"""`remedy episodes`: lists and shows the problems of standalone mode, also while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from datetime import datetime
from io import StringIO

from keptn_remedy.cli.episode_desk import EpisodeDesk
from keptn_remedy.cli.opened_journal import with_episodes
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    ago,
    complain,
    is_terminal,
    paragraphs,
    printable,
    say,
    say_folded,
    say_json,
    show_json,
    table,
    when,
)
from keptn_remedy.ops.episode_models import EpisodeDetail, EpisodeInfo, IgnoredInfo, RungInfo
from keptn_remedy.ops.page.views.ladder import held_until

_COLUMNS = ("OPENED", "STATE", "PROBLEM", "PROJECT/STAGE/SERVICE", "RUNG", "EPISODE", "REASON")


MOST_COMPLETED = 50


def completed(incomplete: str) -> list[str]:
    """What a shell offers while an id is typed: the newest episodes that begin like this."""
    found = list[str]()

    async def look(desk: EpisodeDesk) -> int:
        newest = await desk.episodes(is_open=False, limit=MOST_COMPLETED)
        found.extend(each.id for each in newest if each.id.startswith(incomplete))
        return GOOD

    with redirect_stderr(StringIO()), suppress(Exception):
        with_episodes(look)
    return found


def list_episodes(limit: int, *, is_open: bool, as_json: bool) -> int:
    """Show the newest episodes; returns the exit code."""

    async def show(desk: EpisodeDesk) -> int:
        shown = await desk.episodes(is_open=is_open, limit=limit)
        if as_json:
            for each in shown:
                say_json(each.model_dump(mode="json"))
        elif shown and is_terminal():
            paragraphs(("EPISODE", "STATE", "OPENED"), map(_paragraph, shown))
        elif shown:
            table(_COLUMNS, map(_row, shown))
        elif is_terminal():
            say("No episode is open." if is_open else "There are no episodes.")
        return GOOD

    return with_episodes(show)


def list_ignored(limit: int, *, as_json: bool) -> int:
    """Show alerts that opened no episode; returns the exit code."""

    async def show(desk: EpisodeDesk) -> int:
        shown = await desk.ignored(limit)
        if as_json:
            for each in shown:
                say_json(each.model_dump(mode="json"))
        elif shown:
            _show_ignored(shown)
        elif is_terminal():
            say("No alert was ignored.")
        return GOOD

    return with_episodes(show)


def show_episode(episode_id: str, *, as_json: bool) -> int:
    """Show one episode, whole; returns the exit code."""

    async def show(desk: EpisodeDesk) -> int:
        detail = await desk.episode(episode_id)
        if detail is None:
            said = f"no episode, or more than one, has an id that begins with {episode_id!r}"
            complain([f"{said}; remedy episodes list shows the ids"])
            return FAILED
        if as_json:
            show_json(detail.model_dump(mode="json"))
        else:
            _show_whole(detail)
        return GOOD

    return with_episodes(show)


def _show_ignored(shown: Sequence[IgnoredInfo]) -> None:
    columns = ("LAST SEEN", "TIMES", "SOURCE")
    rows = [(when(each.seen_at), each.times, each.source) for each in shown]
    texts = [(each.alert, each.reason) for each in shown]
    if is_terminal():
        below = ((f"{alert}: {why}",) for alert, why in texts)
        paragraphs(columns, zip(rows, below, strict=True))
    else:
        joined = [(*row, *more) for row, more in zip(rows, texts, strict=True)]
        table((*columns, "ALERT", "REASON"), joined)


def _paragraph(each: EpisodeInfo) -> tuple[Sequence[str], Sequence[str | None]]:
    place = f"{each.project}/{each.stage}/{each.service}"
    remedy = f"remedy {min(each.rung, each.rungs)} of {each.rungs}" if each.rungs else "no remedy"
    return (each.id, _state(each), ago(each.opened_at)), (
        f"{each.problem} in {place}; {remedy}",
        each.reason,
    )


def _row(each: EpisodeInfo) -> tuple[str, ...]:
    return (
        when(each.opened_at),
        _state(each),
        each.problem,
        f"{each.project}/{each.stage}/{each.service}",
        f"{min(each.rung, each.rungs)}/{each.rungs}",
        each.id,
        each.reason or "",
    )


def _state(each: EpisodeInfo) -> str:
    return f"{each.state}, {each.closing}" if each.closing else each.state


def _show_whole(detail: EpisodeDetail) -> None:
    say_folded(f"{detail.problem}: {_state(detail)}")
    rows: list[tuple[str, str]] = [
        ("episode", detail.id),
        ("place", f"{detail.project}/{detail.stage}/{detail.service}"),
        ("source", detail.source),
        ("opened", when(detail.opened_at)),
        ("firing", "yes" if detail.firing else "no"),
    ]
    if detail.closed_at:
        rows.append(("closed", when(detail.closed_at)))
    elif detail.due_at:
        rows.append(("next look", when(detail.due_at)))
    if detail.reason:
        rows.append(("reason", detail.reason))
    if detail.state == "held" and (until := held_until(detail.reason)):
        rows.append(("next", until))
    for name, value in rows:
        say_folded(value, f"  {name:10}  ", " " * 14)
    for rung in detail.tries:
        _show_rung(rung)
    say("")
    for note in detail.history:
        head = f"{_time(note.at)}  {note.state:9}  "
        say_folded(note.text, head, " " * len(head))


def _show_rung(rung: RungInfo) -> None:
    say("")
    say_folded(f"rung {rung.rung}: {rung.action}, execution {rung.execution}")
    said = rung.message or "under way"
    say_folded(said, "  outcome     ", " " * 14)
    if rung.verdict:
        numbers = ", ".join(
            f"{name} {value}" for name, value in rung.numbers.items() if name != "curve"
        )
        say_folded(f"{rung.verdict}: {rung.reason} ({numbers})", "  verdict     ", " " * 14)


def _time(at: datetime) -> str:
    return printable(when(at)[11:19])
