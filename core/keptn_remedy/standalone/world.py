"""What carrying episodes on acts on: the journal, what is asked, and what is set going."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keptn_remedy.events import Event
from keptn_remedy.journal import Episodes, Records, Undos
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.standalone.configuration import Configuration
from keptn_remedy.standalone.escalation import Escalation
from keptn_remedy.standalone.listings import Listings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics


class EpisodeJournal(Episodes, Records, Undos, Protocol):
    """What a climber needs of a journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a climber acts on: `accept` has a trigger carried out, `abort` ends an
    execution that has not acted, `undo_due` has undos looked at.
    """

    journal: EpisodeJournal
    configuration: Configuration
    listings: Listings
    escalation: Escalation
    remediations: Path
    clock: Clock
    metrics: Metrics
    accept: Callable[[Event], Awaitable[Receipt]]
    abort: Callable[[str, str], Awaitable[None]]
    undo_due: Callable[[], None]
