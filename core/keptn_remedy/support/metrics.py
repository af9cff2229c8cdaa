"""What is counted and measured, in Prometheus' terms; units are in the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest

M = TypeVar("M", Counter, Histogram)
OPENMETRICS = "application/openmetrics-text"

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


def _children(metric: M) -> Callable[..., M]:
    """The metric's children by their labels, each looked up once."""
    return cache(metric.labels)


class Metrics:
    """The metrics of one service; a registry of its own, so that two can live in one process.

    One with labels is called with their values.
    """

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the series
        registry = self.registry = CollectorRegistry()
        self.events = _children(
            Counter(
                "remedy_events_received_total",
                "Events by how they were answered.",
                ["answer"],
                registry=registry,
            )
        )
        self.finished = _children(
            Counter(
                "remedy_executions_finished_total",
                "Executions by action and outcome.",
                ["action", "status", "result"],
                registry=registry,
            )
        )
        self.duration = _children(
            Histogram(
                "remedy_execution_duration_seconds",
                "From the beginning of an execution to its outcome.",
                ["action"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self.refusals = _children(
            Counter(
                "remedy_refusals_total",
                "Executions that a guard-rail, or the action itself, refused.",
                ["rail", "rule", "action"],
                registry=registry,
            )
        )
        self.undos = _children(
            Counter(
                "remedy_undos_total",
                "Undos by how they ended.",
                ["action", "state"],
                registry=registry,
            )
        )
        self.paused = Gauge(
            "remedy_paused", "1 while everything that acts is stopped.", registry=registry
        )
        self.waiting = Gauge(
            "remedy_executions_waiting",
            "Executions that wait for a person or for their turn.",
            registry=registry,
        )
        self.policy_rejected = Gauge(
            "remedy_policy_rejected",
            "1 while the policy file is not the policy in force.",
            registry=registry,
        )
        self.running = Gauge(
            "remedy_executions_running", "Executions that run now.", registry=registry
        )
        self.open = Gauge(
            "remedy_executions_open", "Executions accepted and not finished.", registry=registry
        )
        self.retries = _children(
            Counter(
                "remedy_attempts_failed_total",
                "Attempts that failed and were followed by another.",
                ["action"],
                registry=registry,
            )
        )
        self.reports = _children(
            Counter(
                "remedy_reports_total",
                "Reports by kind and what became of them.",
                ["kind", "answer"],
                registry=registry,
            )
        )
        self.unsent = Gauge(
            "remedy_reports_unsent", "Reports that Keptn must still be told.", registry=registry
        )
        self.parked = Gauge(
            "remedy_reports_parked", "Reports that were refused for good.", registry=registry
        )
        self.oldest_open = Gauge(
            "remedy_oldest_open_execution_seconds",
            "Since when the oldest unfinished execution is accepted; 0 where none is open.",
            registry=registry,
        )
        self.oldest_unsent = Gauge(
            "remedy_oldest_unsent_report_seconds",
            "Since when Keptn must be told the oldest unsent report; 0 where none is.",
            registry=registry,
        )
        self.commit = Histogram(
            "remedy_journal_commit_seconds",
            "One commit of the journal, with its fsync.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        info = Gauge("remedy_build_info", "The running version.", ["version"], registry=registry)
        info.labels(version).set(1)

    def note_commit(self, seconds: float, _: int) -> None:
        """One commit of the journal; of how many changes makes no difference here."""
        self.commit.observe(seconds)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics as text, and its Content-Type, in the format that Accept prefers."""
        if OPENMETRICS in accept:
            encode, content_type = choose_encoder(OPENMETRICS)
            return encode(self.registry), content_type
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
