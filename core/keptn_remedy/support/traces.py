"""Spans of executions: received, waited, attempts, reports, in the trace that the event names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from os import urandom
from typing import NamedTuple, Protocol

Attribute = str | int | float | bool

# W3C Trace Context: version, trace id, id of the parent span, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished span. Ids are numbers; `parent_id` 0: it has no parent. Times are Unix times in
    nanoseconds. `is_entry`: it is what our part of the trace begins with. `error`: why it failed.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    began: int
    ended: int
    attributes: Mapping[str, Attribute]
    is_entry: bool = False
    error: str | None = None


class TraceParent(NamedTuple):
    """Where the spans of an execution hang: their trace, and the sender's span, 0 without one."""

    trace_id: int
    parent_id: int
    is_sampled: bool


class Traced(Protocol):
    """What is traced of a trigger."""

    @property
    def id(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def traceparent(self) -> str: ...


class Traces:
    """Makes spans, and gives each to `export`; `close` is called at the end.

    The span of an execution has an id made of the execution's: so the spans of a process that died
    and those of the next one are one tree. Without a `traceparent` the trace is made of the Keptn
    context, and all rounds of a remediation are in it. What the sender doesn't sample isn't traced.
    """

    def __init__(
        self,
        export: Callable[[Span], None],
        close: Callable[[], None] = lambda: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._export = export
        self.close = close
        self._now = now

    def now(self) -> int:
        """The Unix time in nanoseconds."""
        return self._now()

    def execution(
        self, of: Traced, began: int, attributes: Mapping[str, Attribute], error: str | None
    ) -> None:
        """An execution has ended; `began`: when its trigger was stored."""
        place = place_of(of.traceparent, of.context)
        if place.is_sampled:
            self._export(
                Span(
                    name="execution",
                    trace_id=place.trace_id,
                    span_id=execution_span(of.id),
                    parent_id=place.parent_id,
                    began=began,
                    ended=self._now(),
                    attributes=attributes,
                    is_entry=True,
                    error=error,
                )
            )

    def part(
        self,
        of: Traced,
        name: str,
        began: int,
        ended: int,
        attributes: Mapping[str, Attribute],
        error: str | None = None,
    ) -> None:
        """Something within an execution has ended."""
        place = place_of(of.traceparent, of.context)
        if place.is_sampled:
            self._export(
                Span(
                    name=name,
                    trace_id=place.trace_id,
                    span_id=int.from_bytes(urandom(8)) or 1,
                    parent_id=execution_span(of.id),
                    began=began,
                    ended=ended,
                    attributes=attributes,
                    error=error,
                )
            )

    @contextmanager
    def during(self, of: Traced, name: str, **attributes: Attribute) -> Generator[None]:
        """A part of an execution, for as long as the block lasts; what it raises is the error."""
        began, error = self._now(), None
        try:
            yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self.part(of, name, began, self._now(), attributes, error)


def place_of(traceparent: str, context: str) -> TraceParent:
    """Where the spans of an event hang."""
    found = _TRACEPARENT.fullmatch(traceparent.strip().lower())
    if found and int(found[1], 16) and int(found[2], 16) and not traceparent.startswith("ff"):
        return TraceParent(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))
    return TraceParent(_number(f"trace {context}", 16), 0, is_sampled=True)


def execution_span(execution_id: str) -> int:
    """The id of the span of an execution."""
    return _number(f"execution {execution_id}", 8)


def _number(text: str, length: int) -> int:
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:length]) or 1
