"""What the checks of `remedy doctor` examine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from keptn_remedy.action import Finding
from keptn_remedy.registry import Registry
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.masking import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The installation as its variables describe it. `namespaces` are those of the cluster in which
    actions are to act.
    """

    variables: Mapping[str, str]
    settings: Settings
    keptn: KeptnSettings
    registry: Registry
    mask: Mask
    namespaces: Sequence[str]


Check = Callable[[Examined], AsyncIterator[Finding]]
"""Yields what it found; nothing where it doesn't apply."""
