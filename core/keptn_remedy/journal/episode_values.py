"""What the journal holds of problems that come without Keptn: episodes, their rungs and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from keptn_remedy.journal.notifications import Notice

EpisodeState = Literal[
    "open", "waiting", "acting", "settling", "judging", "helped", "held", "escalated", "closed"
]
"""Where an episode's ladder stands (docs/standalone.md)."""
VerdictOfJudge = Literal["helped", "failed", "unknown", "worse"]
"""What the judge says of a rung. `unknown`: it can't tell."""
Closing = Literal["confirmed", "unverified", "unknown"]
"""How an episode was closed: the judge confirms that the problem is gone; it is not listed any
more, which proves nothing; there was no news of it for too long.
"""
RUNNING: Final = ("acting", "settling", "judging")
MOST_IGNORED: Final = 1000
"""The newest alerts that opened no episode, of all sources together; others are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAlert:
    """One alert of a message that belongs to a place: project, stage and service.

    `key` is the same for all alerts of one trouble; `names` are what it may be called in
    remediation.yaml, in the order of trying. `fires_once`: what fires again has another start, so
    that one whose start has ended was sent before its end.
    """

    source: str
    key: str
    fingerprint: str
    is_firing: bool
    project: str = ""
    stage: str = ""
    service: str = ""
    names: tuple[str, ...] = ()
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str = ""
    url: str = ""
    fires_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonsWord:
    """What somebody says of problems at a Unix time. It is about that episode, or about those of
    the place whose names are in the title. `holds`: no remedy is to be begun meanwhile.
    """

    title: str
    episode: str
    by: str
    says: str
    holds: bool
    at: float
    project: str = ""
    stage: str = ""
    service: str = ""

    def of(self, project: str, stage: str, service: str) -> PersonsWord:
        """The same, of this place."""
        return replace(self, project=project, stage=stage, service=service)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that came in and opens no episode: which alert, and why."""

    source: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the alerts of a message: how many opened an episode, reopened one, or repeated
    what was known; how many were resolved; and how many changed nothing.
    """

    opened: int = 0
    reopened: int = 0
    repeated: int = 0
    resolved: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One fingerprint of an episode, as it was last told."""

    fingerprint: str
    is_firing: bool
    starts_at: str
    seen_at: float
    labels: Mapping[str, str]


class OpenMember(NamedTuple):
    """A fingerprint of an open episode, by the episode's handle. `is_absent`: the episode is not
    listed any more.
    """

    episode: int
    fingerprint: str
    is_firing: bool
    is_absent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One try of a remedy: its execution, how that ended, and what the judge said. Times are Unix
    times in seconds, None for what has not come.

    `number` counts the tries of an episode, `index` the actions of its remedy. `acted` is False for
    a dry run. `start_value` is the judge's number when the rung began.
    """

    number: int
    index: int
    execution: str
    action: str
    began_at: float
    ended_at: float | None = None
    status: str | None = None
    result: str | None = None
    message: str | None = None
    acted: bool = True
    settled_at: float | None = None
    window_ends_at: float | None = None
    good_since: float | None = None
    start_value: float | None = None
    verdict: VerdictOfJudge | None = None
    reason: str | None = None
    numbers: Mapping[str, Any] | None = None
    judged_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A problem from its first firing alert until it is closed, with the state of its ladder.

    `remedy` is the matched entry as it was when the episode began, and `digest` that of its file.
    `index` is the rung that is next or under way, `tries` how many were begun. `due_at` is when to
    look at it again. `version` grows with each change. `held_from` is the state before `held`,
    `held_since` since when it can't go on. `acknowledged` says which person is at work on it, and
    `word_at` when somebody last said so or not. `in_storm`: it was one of too many at once.
    """

    handle: int
    id: str
    version: int
    source: str
    key: str
    project: str
    stage: str
    service: str
    names: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    url: str
    state: EpisodeState
    opened_at: float
    firing_at: float
    quiet_since: float | None
    absent_since: float | None
    due_at: float
    remedy: Mapping[str, Any] | None
    digest: str | None
    index: int
    tries: int
    reason: str | None
    held_from: EpisodeState | None
    held_since: float | None
    helped_at: float | None
    escalated_at: float | None
    told_at: float | None
    closed_at: float | None
    closing: Closing | None
    acknowledged: str | None = None
    word_at: float | None = None
    in_storm: bool = False

    @property
    def is_firing(self) -> bool:
        """Whether any of its alerts fires, as far as we were told."""
        return self.quiet_since is None

    @property
    def name(self) -> str:
        """What people call it."""
        return next(iter(self.names), "")


@dataclass(frozen=True, slots=True)
class Note:
    """One line of an episode's history, at a Unix time in seconds."""

    at: float
    state: EpisodeState
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeEpisode:
    """An episode as people are shown it, whole."""

    episode: Episode
    members: Sequence[Member]
    rungs: Sequence[Rung]
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What became of the tries of one action for one service: how many acted, and how many were dry
    runs; of each, how often the judge said what. `gone` are dry runs whose problem went away by
    itself.
    """

    project: str
    stage: str
    service: str
    action: str
    acted: int
    helped: int
    failed: int
    worse: int
    unknown: int
    would_have_acted: int
    gone: int


@dataclass(frozen=True, slots=True)
class Move:
    """A change of an episode, stored as a whole: fields of `Episode` with their new values, a rung
    to insert or replace, the words for its history, and what people are to be told of it. `alone`:
    only while no other episode of its stage runs.
    """

    fields: Mapping[str, Any]
    rung: Rung | None = None
    text: str = ""
    notice: Notice | None = None
    alone: bool = False
