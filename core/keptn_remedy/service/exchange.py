"""The parts that exchange events with Keptn, and the engine between them, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import ENDED
from keptn_remedy.events import ACTION, Replies, event_type
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.stages import StageSizes
from keptn_remedy.journal import Execution
from keptn_remedy.keptn import resources
from keptn_remedy.keptn.aborted_tasks import AbortedTasks
from keptn_remedy.keptn.intake import Intake
from keptn_remedy.keptn.lost_reports import LostReports
from keptn_remedy.keptn.missed_triggers import MissedTriggers
from keptn_remedy.keptn.outbox import Outbox
from keptn_remedy.keptn.reopened_tasks import ReopenedTasks
from keptn_remedy.keptn.subscriptions import Filters
from keptn_remedy.keptn.task_ends import TaskEnds
from keptn_remedy.remediation.entry import value_of
from keptn_remedy.service.engine import Engine, build_engine
from keptn_remedy.service.foundation import Foundation
from keptn_remedy.service.tracing import sending

NOT_CONFIRMED = "by now its alert has ended, is silenced or acknowledged, or can't be asked about"


def build_outbox(base: Foundation, replies: Replies) -> Outbox:
    """What sends reports. It asks Keptn what it counted."""
    return Outbox(
        base.journal,
        sending(base.peer.transport.send, base.traces),
        base.peer.control_plane.counted,
        replies=replies,
        clock=base.clock,
        metrics=base.metrics,
        held_seconds=base.settings.held_seconds,
    )


def engine_of(
    base: Foundation,
    replies: Replies,
    outbox: Outbox,
    task_ends: TaskEnds,
    gives_up: Callable[[Execution], Awaitable[bool]] | None,
) -> Engine:
    """The engine, which asks Keptn whether it waits for what is about to act; without Keptn,
    `gives_up`.
    """

    async def has_ended(execution: Execution, max_age: float) -> bool | None:
        if gives_up:
            return await gives_up(execution)
        trigger = execution.trigger
        # Nobody is asked about the other tasks: their lists were never read.
        if not trigger.is_tracked or event_type(trigger.task, "triggered") not in types:
            return False
        place = trigger.project, trigger.context, trigger.id
        return await task_ends.has_ended(*place, max_age=max_age)

    control_plane, settings, types = base.peer.control_plane, base.settings, base.registry.triggers
    from_file = settings.value_source == "remediation.yaml"
    runtime = Runtime(
        journal=base.journal,
        http=base.http,
        metrics=base.metrics,
        clock=base.clock,
        mask=base.mask,
        files=resources.files_of(control_plane),
        dry_run=settings.dry_run,
        traces=base.traces,
    )
    guard = Guard(
        journal=base.journal,
        clock=base.clock,
        policy=base.policy,
        pauses=base.pauses,
        services=StageSizes(control_plane.services, base.clock).of,
    )
    return build_engine(
        runtime,
        base.registry,
        replies,
        outbox.offer,
        guard=guard,
        pauses=base.pauses,
        settings=settings,
        value_of=partial(value_of, fetch=control_plane.resource) if from_file else None,
        has_ended=has_ended if control_plane.exists or gives_up else None,
        ended=NOT_CONFIRMED if gives_up else ENDED,
    )


def build_aborted_tasks(base: Foundation, task_ends: TaskEnds, engine: Engine) -> AbortedTasks:
    """What finds executions whose task Keptn has ended."""
    return AbortedTasks(
        base.journal,
        task_ends,
        base.clock,
        engine.abort,
        period_seconds=base.settings.watch_seconds,
        subscribers={entry.name for entry in base.registry.subscribers},
        other_tasks={each.name for each in base.registry.entries if each.cls.task != ACTION},
    )


def build_missed_triggers(
    base: Foundation, replies: Replies, intake: Intake, outbox: Outbox
) -> MissedTriggers:
    """What finds tasks that Keptn waits for, and the journal doesn't know."""
    settings = base.settings
    return MissedTriggers(
        base.journal,
        base.peer.control_plane,
        base.registry,
        base.clock,
        replies,
        filters=Filters.of(base.keptn),
        uniform=base.peer.uniform,
        policy=base.policy,
        accept=intake.accept if settings.sweep else None,
        report=outbox.offer if settings.answer_lost else None,
        reopened=ReopenedTasks(
            base.journal, base.peer.control_plane, base.clock, replies, outbox.offer
        ),
        compare=LostReports(
            base.journal, base.peer.control_plane, replies, base.clock, outbox.offer
        ).compare,
    )
