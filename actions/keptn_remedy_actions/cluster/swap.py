"""Replaces the live template with a recorded one, by compare-and-set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.cluster import (
    ROLLOUT,
    Object,
    Ref,
    Workload,
    annotations_of,
    spec_of,
    uid_of,
    version_of,
)
from keptn_remedy_actions.cluster.api import JSON_PATCH, ClusterApi, Conflict, Unprocessable
from keptn_remedy_actions.cluster.history import CAUSE, History, read
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.obstacles import check_stays
from keptn_remedy_actions.cluster.rehearsal import check_changed, rehearse
from keptn_remedy_actions.cluster.revisions import (
    Revision,
    images_of,
    is_same_program,
)

T = TypeVar("T")

_MOST_CONFLICTS = 10


class AnotherTemplate(PermanentError):
    """The template that was to be replaced is no longer live."""


async def read_again(api: ClusterApi, ref: Ref, uid: str) -> History:
    """The history of the workload that a plan was made for.

    Raises:
        AnotherTemplate: the workload was deleted and recreated.
        Denied: it is being deleted.
    """
    live = await api.get(ref)
    if uid_of(live) != uid:
        raise AnotherTemplate(f"{ref} was deleted and recreated meanwhile")
    check_stays(ref, live)
    return await read(api, Workload(ref, live))


async def changed(
    api: ClusterApi, ref: Ref, uid: str, change: Callable[[History], Awaitable[T]]
) -> tuple[History, T]:
    """Read the workload and change it; again after a conflict, as each status update causes one.

    Returns the history before the change, and what `change` returned.

    Raises:
        PermanentError: a conflict about what nobody changed.
        Conflict: it was changed again and again.
    """
    conflict: tuple[Conflict, str] | None = None
    for _ in range(_MOST_CONFLICTS):
        history = await read_again(api, ref, uid)
        version = " ".join(version_of(each.live) for each in history.touched)
        if conflict:
            check_changed(*conflict, version)
        try:
            result = await change(history)
        except Conflict as error:
            conflict = error, version
            continue
        return history, result
    raise Conflict(f"{ref} was changed {_MOST_CONFLICTS} times while we read it")


def is_due(history: History, *, former: str, wanted: str, since: str) -> bool:
    """Whether the template of `former` is live and still to be replaced by that of `wanted`.

    Raises:
        AnotherTemplate: neither is live.
        TemporaryError: the controller has not recorded the live template yet.
    """
    if history.holds(wanted, instead_of=former):
        return False
    check_holds(history, former, instead_of=wanted, since=since)
    return True


async def put(api: ClusterApi, history: History, wanted: str) -> tuple[Revision, Object]:
    """Make the template of the revision `wanted` the live one. Returns that revision, and what
    admission made of its template.

    Raises:
        Conflict: somebody else changed the workload first.
    """
    revision = history.named(wanted)
    if revision is None:
        raise PermanentError(f"{wanted} is no longer in the history of {history.workload.ref}")
    holder = history.holder
    try:
        answer = await api.patch(holder.ref, JSON_PATCH, _patch(history, revision))
    except Unprocessable:
        if version_of(await api.get(holder.ref)) == version_of(holder.live):
            raise
        raise Conflict(f"{holder.ref} was changed at the same time") from None
    return revision, spec_of(answer)["template"]


async def check_admitted(api: ClusterApi, history: History, wanted: Revision) -> None:
    """Ask whether the cluster's admission would let the template through.

    Raises:
        PermanentError: it would be refused.
    """
    untested = _patch(history, wanted)[1:]
    await rehearse(api, history.holder.ref, JSON_PATCH, untested)


def check_holds(history: History, name: str, *, instead_of: str, since: str) -> None:
    """Check that the live template is that of the revision `name`.

    Raises:
        AnotherTemplate: it is another one.
        TemporaryError: the controller has not recorded it yet.
    """
    if history.holds(name, instead_of=instead_of):
        return
    if history.live is None:
        raise TemporaryError(
            f"the controller of {history.workload.ref} has not recorded its current template yet"
        )
    raise another(history, name, since=since)


def another(history: History, expected: str, *, since: str) -> AnotherTemplate:
    """The error for a live template that is not that of the expected revision."""
    holder, revision = history.holder, history.named(expected)
    who = who_set(holder.live, "/spec/template", since)
    if revision and is_same_program(revision.template, history.template):
        return AnotherTemplate(f"{who} restarted {holder.ref} since")
    images = images_of(history.template)
    return AnotherTemplate(f"{who} gave {holder.ref} another template, with {images}")


def _patch(history: History, revision: Revision) -> list[dict[str, Any]]:
    """The JSON patch: unlike `kubectl rollout undo`, it tests the version and keeps annotations."""
    live = history.holder.live
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(live)},
        {"op": "replace", "path": "/spec/template", "value": revision.template},
    ]
    if history.workload.ref.kind == ROLLOUT:
        return operations  # Argo Rollouts has no change cause
    if history.live is None or history.live.cause != annotations_of(live).get(CAUSE):
        return operations  # the current cause is in no history, so undo could not restore it
    return [*operations, *_cause(annotations_of(live), revision.cause)]


def _cause(annotations: Any, cause: str | None) -> list[dict[str, Any]]:
    path = f"/metadata/annotations/{CAUSE.replace('/', '~1')}"
    if cause == annotations.get(CAUSE):
        return []
    if cause is None:
        return [{"op": "remove", "path": path}]
    if not annotations:
        return [{"op": "add", "path": "/metadata/annotations", "value": {CAUSE: cause}}]
    return [{"op": "add", "path": path, "value": cause}]
