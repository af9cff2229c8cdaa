"""Who is told what: REMEDY_NOTIFY for all, and what rules of the policy say instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import cast

from keptn_remedy.guardrails.matching import Resolved
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.guardrails.values import NOTIFY_KINDS, NotifyKind
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import SettingsError

_SETTING = "REMEDY_NOTIFY"


class Routes:
    """The channels that hear of something.

    `notify` are the entries of REMEDY_NOTIFY, each `channel` or `channel:kind+kind`; None: every
    channel hears everything.
    """

    def __init__(self, channels: Collection[str], notify: Sequence[str] | None) -> None:
        """Raises SettingsError: an entry names no channel, or no kind."""
        self._channels = channels
        entries = notify if notify is not None else tuple(channels)
        mistakes: list[str] = []
        self._default = dict(_entry(each, channels, mistakes) for each in entries)
        if mistakes:
            raise SettingsError(mistakes)

    def channels(self, kind: str, rules: Iterable[Resolved]) -> list[str]:
        """Those that are told of this kind, by the rules of everything that was touched."""
        found: dict[str, None] = {}
        for each in rules:
            told = self._default if each.notify is None else each.notify
            found |= {name: None for name, kinds in told.items() if kind in kinds}
        return [name for name in found if name in self._channels]

    def check(self, policy: Policy) -> None:
        """See that the rules name channels that there are.

        Raises:
            PolicyError: with one line per mistake.
        """
        mistakes = [
            f"rule {rule.name!r}, notify: there is no channel {name!r} in REMEDY_CHANNELS"
            f"{near(name, self._channels) or _there_are(self._channels)}"
            for rule in policy.rules
            for name in rule.notify or ()
            if name not in self._channels
        ]
        if mistakes:
            raise PolicyError(mistakes)


def _entry(
    text: str, channels: Collection[str], mistakes: list[str]
) -> tuple[str, tuple[NotifyKind, ...]]:
    name, _, listed = (part.strip() for part in text.partition(":"))
    if name not in channels:
        hint = near(name, channels) or _there_are(channels)
        mistakes.append(f"{_SETTING}: there is no channel {name!r} in REMEDY_CHANNELS{hint}")
    kinds = [kind.strip() for kind in listed.split("+")] if listed else [*NOTIFY_KINDS]
    for kind in kinds:
        if kind not in NOTIFY_KINDS:
            hint = near(kind, NOTIFY_KINDS) or f"; there are: {', '.join(NOTIFY_KINDS)}"
            mistakes.append(f"{_SETTING}: nobody can be told of {kind!r}{hint}")
    return name, cast("tuple[NotifyKind, ...]", tuple(kinds))


def _there_are(channels: Collection[str]) -> str:
    return f"; there are: {', '.join(channels)}" if channels else ""
