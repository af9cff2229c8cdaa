"""`remedy episodes`: lists and shows the problems of standalone mode, also while it runs."""

from __future__ import annotations

from contextlib import redirect_stderr, suppress
from datetime import datetime
from io import StringIO

from keptn_remedy.cli.episode_desk import EpisodeDesk
from keptn_remedy.cli.opened_journal import with_episodes
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    complain,
    is_terminal,
    printable,
    say,
    say_folded,
    say_json,
    show_json,
    table,
    when,
)
from keptn_remedy.ops.episode_models import EpisodeDetail, EpisodeInfo, RungInfo

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
        elif shown:
            table(_COLUMNS, [_row(each) for each in shown])
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
            rows = [
                (when(each.seen_at), str(each.times), each.source, each.alert, each.reason)
                for each in shown
            ]
            table(("LAST SEEN", "TIMES", "SOURCE", "ALERT", "REASON"), rows)
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
        rows.append(("looked at", when(detail.due_at)))
    if detail.reason:
        rows.append(("reason", detail.reason))
    for name, value in rows:
        say_folded(value, f"  {name:10}  ", " " * 14)
    for rung in detail.tries:
        _show_rung(rung)
    say("")
    for note in detail.history:
        say_folded(note.text, f"{_time(note.at)}  {note.state:9}  ", " " * 22)


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
