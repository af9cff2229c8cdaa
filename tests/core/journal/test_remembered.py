"""Lists in the journal's memory outlive an update, and the way back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from keptn_remedy.guardrails.brake import PastPause, past_pauses
from keptn_remedy.journal.remembered import entries
from tests.core.places import AnyJournal


@dataclass
class Entry:
    by: str
    at: float = 0.0


@pytest.mark.parametrize(
    ("found", "read"),
    [
        (None, []),
        ({"by": "ada"}, []),
        ([{"by": "ada", "at": 1.5}], [Entry("ada", 1.5)]),
        ([{"by": "ada", "from_where": "the page"}], [Entry("ada")]),
        ([{"at": 1.0}, "ada", None, {"by": 7}, {"by": "eve"}], [Entry("eve")]),
    ],
)
def test_what_another_release_wrote_is_read_as_far_as_it_is_known(
    found: Any, read: list[Entry]
) -> None:
    assert entries(Entry, found) == read


async def test_a_pause_that_a_newer_release_noted_is_shown(journal: AnyJournal) -> None:
    noted: Any = [{"by": "ada", "reason": "the network", "since": 1.0, "ticket": "OPS-1"}]
    await journal.remember("", "brake", noted)
    assert await past_pauses(journal) == [PastPause("ada", "the network", 1.0)]
