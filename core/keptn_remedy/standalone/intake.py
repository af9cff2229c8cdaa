"""What is done with a message of a source: its alerts are mapped, and stored before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from keptn_remedy.journal import Episodes, Ignored, SeenAlert, Taken
from keptn_remedy.standalone.alertmanager import BadMessage
from keptn_remedy.standalone.configuration import Configuration, OneSource
from keptn_remedy.standalone.mapping import MOST_SHOWN, Alert, place_of, placed
from keptn_remedy.standalone.messages import read
from keptn_remedy.standalone.pagerduty import word_in
from keptn_remedy.support import logs

# Up to so many bytes are read on the event loop; more would keep it from other work.
SMALL_BYTES = 64 * 1024

__all__ = ["AlertIntake", "BadMessage", "StoredMessage"]


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What became of a message: of its alerts that have a place, and of those that have none."""

    taken: Taken
    ignored: int


class AlertIntake:
    """Stores alerts. `wake` is called after something new is stored; `compare` when a message has
    left alerts out.
    """

    def __init__(
        self,
        journal: Episodes,
        configuration: Configuration,
        wake: Callable[[], None],
        compare: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._configuration = configuration
        self._wake = wake
        self._compare = compare

    async def take(
        self, source: OneSource, headers: Mapping[str, str], body: bytes
    ) -> StoredMessage:
        """Store what a message of a source says.

        Raises:
            BadMessage: it is no message of this kind. JournalError: it can't be stored.
        """
        if source.rules.kind == "pagerduty":
            return await self._hear(source, body)
        if len(body) <= SMALL_BYTES:
            message = _read(source, headers, body)
        else:
            message = await asyncio.to_thread(_read, source, headers, body)
        if message.left_out:
            self._compare()
        return await self.store(source, message.seen, message.ignored)

    async def _hear(self, source: OneSource, body: bytes) -> StoredMessage:
        """Store what a person says of problems."""
        word, labels = word_in(body)
        if word is None:
            return StoredMessage(Taken(), 0)
        place, why = place_of(source.rules, labels)
        if source.rules.on_acknowledged == "note":
            word = replace(word, holds=False)
        word = word.of(place.get("project", ""), place.get("stage", ""), place.get("service", ""))
        heard = await self._journal.take_word(word, by_name=not why)
        if heard:
            logs.logger().info("a person spoke", source=source.name, by=word.by, says=word.says)
            self._wake()
            return StoredMessage(Taken(repeated=heard), 0)
        reason = why or f"no open problem of {place['service']} has its name in the title"
        return await self.store(source, (), [Ignored(source.name, word.title[:MOST_SHOWN], reason)])

    async def store(
        self, source: OneSource, seen: Sequence[SeenAlert], ignored: Sequence[Ignored] = ()
    ) -> StoredMessage:
        """Store these alerts.

        Raises:
            JournalError: they can't be stored.
        """
        rules = self._configuration.rules
        taken = await self._journal.take_alerts(
            seen, ignored, first_look_seconds=rules.act_after, relapse_seconds=rules.relapse
        )
        for each in {(one.name, one.reason) for one in ignored}:
            logs.logger().info("alert ignored", source=source.name, alert=each[0], reason=each[1])
        if taken.opened or taken.reopened:
            logs.logger().info(
                "problems began", source=source.name, new=taken.opened, again=taken.reopened
            )
        # What repeats makes nothing due that would not be looked at within a second.
        if taken.opened or taken.reopened or taken.resolved:
            self._wake()
        return StoredMessage(taken, len(ignored))


class _Mapped(NamedTuple):
    """A message whose alerts have found their places, or none."""

    seen: Sequence[SeenAlert]
    ignored: Sequence[Ignored]
    left_out: int


def _read(source: OneSource, headers: Mapping[str, str], body: bytes) -> _Mapped:
    message = read(source.rules.kind, headers, body)
    seen, ignored = split(source, message.alerts)
    bad = [Ignored(source.name, name[:MOST_SHOWN], why) for name, why in message.unreadable]
    return _Mapped(seen, [*ignored, *bad], message.left_out)


def split(source: OneSource, alerts: Sequence[Alert]) -> tuple[list[SeenAlert], list[Ignored]]:
    """Those that have a place, and those that have none."""
    found = [placed(source.name, source.rules, each) for each in alerts]
    return (
        [each for each in found if isinstance(each, SeenAlert)],
        [each for each in found if isinstance(each, Ignored)],
    )
