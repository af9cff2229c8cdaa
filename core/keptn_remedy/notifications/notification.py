"""A notification: what happened, where, until when, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from keptn_remedy.events.bounds import shortened
from keptn_remedy.guardrails.values import NotifyKind

Kind = NotifyKind | Literal["summary", "trial", "escalation", "unverified"]
Severity = Literal["info", "warning", "error", "critical"]

MAX_TITLE, MAX_TEXT, MAX_FACT = 200, 2_000, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a channel is to tell. Its texts are one line each, but for `text`; all are bounded.

    `key` is the same for all that is about one thing: `is_over` ends what an earlier one with this
    key began. `facts` are names with short values, such as the stage. `at` and `until`, when what
    is told ends by itself, are Unix times in seconds. `stands`: it holds until one that is over.
    `link` leads to a page, `command` is what a person may type.
    """

    key: str
    kind: Kind
    severity: Severity
    title: str
    at: float
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    until: float | None = None
    stands: bool = False
    is_over: bool = False
    link: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        lines = {name: _line(value, MAX_FACT) for name, value in self.facts.items()}
        facts = {name: line for name, line in lines.items() if line}
        object.__setattr__(self, "title", _line(self.title, MAX_TITLE))
        object.__setattr__(self, "text", shortened(_clean(self.text), MAX_TEXT))
        object.__setattr__(self, "facts", facts)

    def to_json(self) -> bytes:
        """As the journal keeps it."""
        return orjson.dumps(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: bytes) -> Notification:
        """What `to_json` gave.

        Raises:
            ValueError, TypeError: it is none, or of another release.
        """
        raw: dict[str, Any] = orjson.loads(text)
        return cls(**raw)

    @property
    def where(self) -> str:
        """Project, stage and service."""
        return "/".join(filter(None, map(self.facts.get, ("project", "stage", "service"))))

    @property
    def lines(self) -> list[str]:
        """What stands below the title, in plain text, without the link."""
        found = self.text.splitlines()
        if self.until is not None and not self.is_over:
            found.append(f"Until {moment(self.until)}")
        if self.command and not self.is_over:
            found.append(f"Command: {self.command}")
        return found


def moment(seconds: float) -> str:
    """A Unix time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def rfc3339(seconds: float) -> str:
    """A Unix time for programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _line(text: str, most: int) -> str:
    return shortened(" ".join(_clean(text).split()), most)


def _clean(text: str) -> str:
    """Without what moves a cursor or reverses the direction of writing."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
