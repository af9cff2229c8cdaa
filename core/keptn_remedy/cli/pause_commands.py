"""`remedy pause` and `remedy resume`: stop all executions from acting, and let them act again."""

from __future__ import annotations

from keptn_remedy.cli.order import Order, ordered, paused_by_file
from keptn_remedy.cli.terminal import FAILED, GOOD, complain, say, say_folded, say_json, when
from keptn_remedy.guardrails.pauses import still_paused_words
from keptn_remedy.journal import Pause
from keptn_remedy.ops import models


def pause(reason: str, *, as_json: bool) -> int:
    """Refuse all executions until resumed; returns the exit code."""

    async def carry_out(order: Order) -> int:
        replaced = await order.journal.paused()
        paused = await order.journal.pause(order.by, order.reason)
        if not await order.until_heard():
            complain([order.unconfirmed])
            return FAILED
        if order.as_json:
            say_json(models.Pause.of(paused).model_dump())
            return GOOD
        say_folded("paused: executions are refused, with this reason, until remedy resume")
        if replaced:
            say_folded(f"this replaces the pause by {_of(replaced)}")
        if order.is_heard:
            say_folded("executions that are already acting run to their end")
        else:
            say_folded(f"{order.unheard}; the next one to start will be paused")
        return GOOD

    return ordered(carry_out, reason, models.PauseOrder, as_json=as_json)


def resume(*, as_json: bool) -> int:
    """End the pause; returns the exit code."""

    async def carry_out(order: Order) -> int:
        ended = await order.journal.resume()
        if not await order.until_heard():
            complain([order.unconfirmed])
            return FAILED
        by_file = await paused_by_file()
        if order.as_json:
            say_json(models.Pause.of(by_file).model_dump())
        elif by_file is None:
            _show_resumed(ended)
        if by_file is None:
            return GOOD
        complain([still_paused_words(by_file, ended)])
        return FAILED

    return ordered(carry_out, as_json=as_json)


def resume_targets(target: str | None, *, as_json: bool) -> int:
    """End the suspension of a target, or of all targets; returns the exit code."""

    async def carry_out(order: Order) -> int:
        count = await order.journal.forgive(target, order.by)
        if target is not None and not count:
            where = "copy a target from the plan that remedy journal show ID shows"
            complain([f"no execution on the target {target!r} has failed; {where}"])
            return FAILED
        if order.as_json:
            say_json({"targets": count})
        elif count:
            targets = "1 target" if count == 1 else f"{count} targets"
            say(f"resumed: earlier failures on {targets} no longer count")
        else:
            say("no target was suspended")
        return GOOD

    return ordered(carry_out, as_json=as_json)


def _show_resumed(ended: Pause | None) -> None:
    if ended is None:
        say("nothing was paused")
        return
    say_folded(f"resumed: this ends the pause by {_of(ended)}")
    say_folded("executions that were refused during the pause stay refused")


def _of(pause: Pause) -> str:
    return f'{pause.by} since {when(pause.since)}: "{pause.reason}"'
