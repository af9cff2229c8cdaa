"""The metrics of a provider, in Prometheus' terms; units are in the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest

from keptn_remedy.support import output

OPENMETRICS = "application/openmetrics-text"

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


class _Row(NamedTuple):
    """One metric, and the attribute of `Metrics` that holds it."""

    attribute: str
    kind: Callable[..., Any]
    name: str
    help: str
    labels: tuple[str, ...] = ()


_TABLE = (
    _Row(
        "events",
        Counter,
        "remedy_events_received_total",
        "Events received, by the answer.",
        ("answer",),
    ),
    _Row(
        "refused",
        Counter,
        "remedy_http_refused_total",
        "Clients cut off or refused by a port, by port and reason.",
        ("port", "reason"),
    ),
    _Row(
        "finished",
        Counter,
        "remedy_executions_finished_total",
        "Executions finished, by action, status and result.",
        ("action", "status", "result"),
    ),
    _Row(
        "duration",
        partial(Histogram, buckets=_SECONDS),
        "remedy_execution_duration_seconds",
        "Time from the start of an execution to its outcome.",
        ("action",),
    ),
    _Row(
        "refusals",
        Counter,
        "remedy_refusals_total",
        "Executions refused by a guard-rail or by the action itself.",
        ("rail", "rule", "action"),
    ),
    _Row(
        "refused_tokens",
        Counter,
        "remedy_operator_tokens_refused_total",
        "Requests with a wrong token, of operators or agents, and those refused after too many.",
        ("answer",),
    ),
    _Row("undos", Counter, "remedy_undos_total", "Undos, by how they ended.", ("action", "state")),
    _Row("paused", Gauge, "remedy_paused", "1 during a pause: nothing may act."),
    _Row(
        "waiting",
        Gauge,
        "remedy_executions_waiting",
        "Executions that wait for an approval or for a free place.",
    ),
    _Row(
        "policy_rejected",
        Gauge,
        "remedy_policy_rejected",
        "1 while the policy file is rejected and an earlier policy is in force.",
    ),
    _Row("running", Gauge, "remedy_executions_running", "Executions that are running."),
    _Row("open", Gauge, "remedy_executions_open", "Executions accepted and not finished."),
    _Row(
        "retries",
        Counter,
        "remedy_attempts_failed_total",
        "Attempts that failed and were followed by another.",
        ("action",),
    ),
    _Row(
        "loop_blocked",
        Counter,
        "remedy_event_loop_blocked_total",
        "Times that code kept the event loop from running for 2 seconds, by action if known.",
        ("action",),
    ),
    _Row(
        "reports",
        Counter,
        "remedy_reports_total",
        "Attempts to send a report to Keptn, by kind and result.",
        ("kind", "answer"),
    ),
    _Row("unsent", Gauge, "remedy_reports_unsent", "Reports that are still to be sent to Keptn."),
    _Row("parked", Gauge, "remedy_reports_parked", "Reports that Keptn rejected; kept, not sent."),
    _Row(
        "blocked",
        Gauge,
        "remedy_reports_blocked",
        "Unsent reports that the way to Keptn refused: a proxy, the address or the token is wrong.",
    ),
    _Row(
        "notifications",
        Counter,
        "remedy_notifications_total",
        "Notifications by channel and answer: sent, failed (tried again), refused, given_up.",
        ("channel", "answer"),
    ),
    _Row(
        "oldest_notification",
        Gauge,
        "remedy_oldest_unsent_notification_seconds",
        "Age of the oldest notification that a channel has not taken; 0 if there is none.",
        ("channel",),
    ),
    _Row(
        "oldest_open",
        Gauge,
        "remedy_oldest_open_execution_seconds",
        "Age of the oldest execution that is not finished; 0 if there is none.",
    ),
    _Row(
        "oldest_unsent",
        Gauge,
        "remedy_oldest_unsent_report_seconds",
        "Age of the oldest report that is still to be sent to Keptn; 0 if there is none.",
    ),
    _Row(
        "journal_failed",
        Gauge,
        "remedy_journal_failed",
        "1 while events can't be stored, or the journal's file was deleted or replaced.",
    ),
    _Row(
        "commit",
        partial(Histogram, buckets=_COMMIT_SECONDS),
        "remedy_journal_commit_seconds",
        "Time of one commit of the journal, with its fsync.",
    ),
    _Row(
        "clock_steps",
        Counter,
        "remedy_clock_steps_total",
        "How often the wall clock was set, forward or back.",
        ("direction",),
    ),
    _Row(
        "dropped_lines",
        Counter,
        "remedy_log_lines_dropped_total",
        "Log lines lost because nobody read them fast enough, or they could not be written.",
    ),
    _Row(
        "intake",
        Counter,
        "remedy_intake_messages_total",
        "Messages on the intake port, by source and answer.",
        ("source", "answer"),
    ),
    _Row(
        "episodes",
        Counter,
        "remedy_episode_states_total",
        "How often an episode came into each state.",
        ("state",),
    ),
    _Row("verdicts", Counter, "remedy_verdicts_total", "Verdicts of the judge.", ("verdict",)),
    _Row(
        "escalations",
        Counter,
        "remedy_escalations_total",
        "Attempts to tell a person of an episode, by how they ended.",
        ("answer",),
    ),
    _Row("build", Gauge, "remedy_build_info", "The running version.", ("version",)),
)


class Metrics:
    """The metrics of one service, in a registry of its own: two services can share a process.

    A metric with labels is a function: call it with the labels' values in the table's order.
    """

    events: Callable[[str], Counter]
    refused: Callable[[str, str], Counter]
    finished: Callable[[str, str, str], Counter]
    duration: Callable[[str], Histogram]
    refusals: Callable[[str, str, str], Counter]
    refused_tokens: Callable[[str], Counter]
    undos: Callable[[str, str], Counter]
    paused: Gauge
    waiting: Gauge
    policy_rejected: Gauge
    running: Gauge
    open: Gauge
    retries: Callable[[str], Counter]
    loop_blocked: Callable[[str], Counter]
    reports: Callable[[str, str], Counter]
    unsent: Gauge
    parked: Gauge
    blocked: Gauge
    notifications: Callable[[str, str], Counter]
    oldest_notification: Callable[[str], Gauge]
    oldest_open: Gauge
    oldest_unsent: Gauge
    journal_failed: Gauge
    commit: Histogram
    clock_steps: Callable[[str], Counter]
    dropped_lines: Counter
    intake: Callable[[str, str], Counter]
    episodes: Callable[[str], Counter]
    verdicts: Callable[[str], Counter]
    escalations: Callable[[str], Counter]
    build: Callable[[str], Gauge]

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series
        self.registry = CollectorRegistry()
        self._known_dropped = 0
        for row in _TABLE:
            metric = row.kind(row.name, row.help, row.labels, registry=self.registry)
            # `labels` is slow, so the result is kept for each combination of values.
            setattr(self, row.attribute, cache(metric.labels) if row.labels else metric)
        self.build(version).set(1)

    def note_commit(self, seconds: float, _: int) -> None:
        """Record one commit of the journal; the number of changes in it is not measured."""
        self.commit.observe(seconds)

    def note_clock_step(self, seconds: float) -> None:
        """Count that the wall clock was set, by so many seconds; negative: back."""
        self.clock_steps("forward" if seconds > 0 else "back").inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics as text and the Content-Type, in the format that an Accept header asks for.

        Without OpenMetrics in it: Prometheus' text format.
        """
        dropped = output.dropped_lines()
        self.dropped_lines.inc(dropped - self._known_dropped)
        self._known_dropped = dropped
        if OPENMETRICS in accept:
            encode, content_type = choose_encoder(OPENMETRICS)
            return encode(self.registry), content_type
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
