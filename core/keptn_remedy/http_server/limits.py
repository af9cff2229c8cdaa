"""What a port holds at most, in connections, bytes and seconds, and what it refused for that."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

Port = Literal["events", "ops", "intake"]
Reason = Literal["full", "slow", "headers", "host"]
LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one port.

    `connections` are open at once, `per_address` of one address. A connection whose file descriptor
    has a number above `last_descriptor` is refused. `head_seconds` are for a request's line and
    headers, and for a new connection that sends nothing; `body_seconds` for the body;
    `answer_seconds` until the answer was read. `idle_seconds` a connection may wait for a further
    request.
    """

    connections: int
    per_address: int | None = None
    last_descriptor: int | None = None
    header_fields: int = 100
    header_bytes: int = 32 * 1024
    head_seconds: float = 5.0
    body_seconds: float = 5.0
    answer_seconds: float = 30.0
    idle_seconds: float = 75.0

    @property
    def look_seconds(self) -> float:
        """How often connections are looked at."""
        return min(self.head_seconds, self.body_seconds, self.answer_seconds) / 5


def of_events() -> Limits:
    """The event port's. It may have half of the open files."""
    return Limits(connections=min(512, max_descriptors() // 2))


def of_ops() -> Limits:
    """The ops port's. It stops at three quarters of the open files, so that the event port always
    finds some, and no address gets all connections: the kubelet's probes have one of their own.
    """
    descriptors = max_descriptors()
    connections = max(8, min(128, descriptors // 8))
    return Limits(
        connections=connections,
        per_address=connections // 2,
        last_descriptor=descriptors * 3 // 4,
        idle_seconds=30.0,
    )


def of_intake() -> Limits:
    """The intake port's. A message may be 16 MiB long."""
    return Limits(connections=max(8, min(128, max_descriptors() // 8)), body_seconds=15.0)


def max_descriptors() -> int:
    """How many files this process may have open."""
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_descriptors() -> None:
    """Let this process open as many files as it may: the usual soft limit of 1,024 is a leftover of
    select(), which nothing here uses.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _finite(hard)
    if _finite(soft) < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _finite(limit: int) -> int:
    # Systems without a limit still have one of their own.
    return 65_536 if limit == resource.RLIM_INFINITY else limit


class Refusals:
    """Counts what one port refused, and logs it: at most a line in ten seconds for each reason."""

    def __init__(
        self, port: Port, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._port = port
        self._metrics = metrics
        self._monotonic = monotonic
        self._logged_at: dict[Reason, float] = {}
        self._unlogged: dict[Reason, int] = {}

    def count(self, reason: Reason) -> None:
        """Something was refused for that reason, and is logged elsewhere."""
        self._metrics.refused(self._port, reason).inc()

    def note(self, reason: Reason, detail: str) -> None:
        """Something was refused for that reason."""
        self.count(reason)
        now = self._monotonic()
        if now - self._logged_at.get(reason, -LOG_EVERY_SECONDS) < LOG_EVERY_SECONDS:
            self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
            return
        self._logged_at[reason] = now
        logs.logger().warning(
            f"the {self._port} port refused a client",
            reason=reason,
            detail=detail,
            unlogged=self._unlogged.pop(reason, 0),
        )
