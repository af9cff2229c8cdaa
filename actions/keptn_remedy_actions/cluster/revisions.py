"""The revisions of a workload, and which one to return to: by health, not by number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster import Object, annotations_of, labels_of, meta_of, spec_of

Health = Literal["serving", "unknown", "unfinished", "broken"]
"""What shows of a revision: the last complete one is serving, newer ones are unfinished, one with
pods of which none is available is broken, and one without pods is unknown.
"""

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_MARKS = ("labels", "annotations")
_HASHES = frozenset({"pod-template-hash", "rollouts-pod-template-hash"})


@dataclass(frozen=True, slots=True)
class Revision:
    """A former or the current template of a workload; `name` is that of the history object."""

    number: int
    name: str
    template: Object
    health: Health = "unknown"
    cause: str | None = None
    earlier: Sequence[int] = ()
    """Its earlier numbers: a revision that becomes live again gets a new one."""

    def __str__(self) -> str:
        return f"revision {self.number} ({self.images})"

    @property
    def images(self) -> str:
        return images_of(self.template)

    def is_same_program(self, other: Revision) -> bool:
        return is_same_program(self.template, other.template)


def images_of(template: Object) -> str:
    """The images of the containers, in words."""
    containers: Sequence[Object] = spec_of(template).get("containers") or ()
    images = [container.get("image", "") for container in containers]
    return f"image{'s' * (len(images) != 1)} {', '.join(images)}"


def restarted_at(template: Object) -> str | None:
    """The time of the last restart, by `kubectl rollout restart` or by us."""
    return annotations_of(template).get(RESTARTED_AT)


def is_same_program(one: Object, other: Object) -> bool:
    """Whether two plain templates are equal but for a restart, which makes a revision, too."""
    return _program(one) == _program(other)


def plain(template: Object) -> Object:
    """The template without what controllers and the API server add to it."""
    meta = meta_of(template)
    kept: dict[str, Any] = {k: meta[k] for k in meta if meta[k] and k != "creationTimestamp"}
    labels = labels_of(template)
    kept["labels"] = {name: labels[name] for name in labels if name not in _HASHES}
    return {k: template[k] for k in template if k != "$patch"} | {"metadata": kept}


def digest_of(template: Object, *, but_for: Collection[str]) -> str:
    """A digest of the template without these labels and annotations.

    It is stored in place of the template, which may hold secrets.
    """
    marks = {name: _without(_marks(template, name), but_for) for name in _MARKS}
    text = json.dumps({**plain(template), "metadata": marks}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stamps(sent: Object, stored: Object) -> set[str]:
    """The labels and annotations of a template that admission changed on its way."""
    return {
        key
        for name in _MARKS
        for key in _marks(sent, name).keys() | _marks(stored, name).keys()
        if _marks(sent, name).get(key) != _marks(stored, name).get(key)
    }


def _marks(template: Object, name: str) -> Mapping[str, str]:
    return meta_of(plain(template)).get(name) or {}


def _without(marks: Mapping[str, str], gone: Collection[str]) -> Mapping[str, str]:
    return {key: marks[key] for key in marks if key not in gone}


def contains(live: Any, wanted: Any) -> bool:
    """Whether everything wanted is there; defaults and webhooks may have added more."""
    if type(live) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        fields = cast("Object", wanted)
        return all(name in live and contains(live[name], fields[name]) for name in fields)
    if isinstance(wanted, list):
        items = cast("Sequence[Any]", wanted)
        return all(any(contains(each, item) for each in live) for item in items)
    return bool(live == wanted)


def choose(
    history: Sequence[Revision], live: Revision, bad: Mapping[str, str], good: Mapping[str, str]
) -> Revision:
    """The other revision that is serving, else the newest that was seen available, else the newest
    that is not known to be bad.

    `history` has the newest first. `bad` has the times at which revisions were rolled back from,
    `good` those at which they were seen available, by name.

    Raises:
        Denied: there is no such revision.
    """
    others = [each for each in history if not each.is_same_program(live)]
    if not others:
        raise Denied(
            f"there is no other revision than {live}: it never had one, or revisionHistoryLimit"
            " removed it; deploy the version that you want"
        )
    doubts = _doubts(history, bad)
    left = [each for each in others if each.name not in doubts]
    if not left:
        known = "; ".join(f"{each} {doubts[each.name]}" for each in others)
        raise Denied(
            f"every other revision is known to be bad: {known}; to use one anyway, name it"
            f' in `value`: {{"revision": {others[0].number}}}'
        )
    seen = shared(history, good)
    return min(left, key=lambda each: _rank(each, seen))


def numbered(history: Sequence[Revision], number: int) -> Revision:
    """The revision of this number.

    Raises:
        PermanentError: there is no such revision; lists those that exist.
    """
    for each in history:
        if each.number == number:
            return each
        if number in each.earlier:
            raise PermanentError(
                f"revision {number} became live again since, and is now {each}: name that number"
            )
    known = ", ".join(str(each) for each in history) or "none"
    raise PermanentError(f"there is no revision {number}; there are: {known}")


def shared(history: Sequence[Revision], noted: Mapping[str, str]) -> Mapping[str, str]:
    """The notes, for all revisions with the program of a noted one: a restart makes another."""
    marked = [each for each in history if each.name in noted]
    return {
        each.name: noted[one.name]
        for each in history
        for one in marked
        if each.is_same_program(one)
    }


def _rank(revision: Revision, good: Mapping[str, str]) -> int:
    """Lower for a revision that is more surely a good one."""
    if revision.health == "serving":
        return 0
    if revision.name in good:
        return 1
    return 2 if revision.health == "unknown" else 3


def _doubts(history: Sequence[Revision], bad: Mapping[str, str]) -> Mapping[str, str]:
    """Why revisions are bad, by name."""
    doubts = {
        each.name: "has pods, and none of them is ready"
        for each in history
        if each.health == "broken"
    }
    left = shared(history, bad)
    return doubts | {name: f"was rolled back from at {when}" for name, when in left.items()}


def _program(template: Object) -> Object:
    """The template without what `kubectl rollout restart` writes into it."""
    annotations = annotations_of(template)
    kept = {name: annotations[name] for name in annotations if name != RESTARTED_AT}
    return {**template, "metadata": {**meta_of(template), "annotations": kept}}
