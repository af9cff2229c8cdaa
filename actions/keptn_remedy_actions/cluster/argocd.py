"""Applications of Argo CD: their sync policy, their history, and the operations on them.

Facts are from Argo CD's API types (`pkg/apis/application/v1alpha1`) and its `Rollback` call: an
operation is the field `operation` of the resource; the controller takes it out and tells its end in
`status.operationState`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster import Kind, Object, spec_of, status_of

APPLICATION = Kind("Application", "argoproj.io", "v1alpha1", "applications")
AUTOMATED = "/spec/syncPolicy/automated"
_INFO = "keptn-remedy execution"
PHASE = "/status/operationState/phase"
TERMINATING = "Terminating"
_UNDER_WAY = ("Running", TERMINATING)


def automated_of(application: Object) -> Any:
    """Its automated sync policy; None where it isn't synced by itself."""
    policy: Object = spec_of(application).get("syncPolicy") or {}
    return policy.get("automated")


def is_automated(application: Object) -> bool:
    """Whether Argo CD syncs it by itself; `enabled: false` switches that off since Argo CD 3.0."""
    automated = automated_of(application)
    return automated is not None and automated.get("enabled") is not False


def history_of(application: Object) -> Sequence[Object]:
    """What was deployed, the oldest first."""
    found: Sequence[Object] = status_of(application).get("history") or ()
    return found


def entry_of(application: Object, wanted: int | None) -> Object:
    """The entry of its history with this id, or else the one before the last.

    Raises:
        PermanentError: there is none.
    """
    history = history_of(application)
    if wanted is not None:
        for entry in history:
            if entry.get("id") == wanted:
                return entry
        ids = ", ".join(str(entry.get("id")) for entry in history) or "none"
        raise PermanentError(f"its history has no id {wanted}; there are {ids}")
    if len(history) < 2:
        raise PermanentError("its history has nothing to roll back to")
    return history[-2]


def revision_of(entry: Object) -> str:
    """What was deployed, in words: one revision, or one of each source."""
    revisions: Sequence[str] = entry.get("revisions") or ()
    return ", ".join(revisions) or str(entry.get("revision") or "")


def deployed(application: Object) -> str:
    """The revision that was deployed last; empty where it never was."""
    history = history_of(application)
    return revision_of(history[-1]) if history else ""


def sync_of(entry: Object, *, prune: bool) -> dict[str, Any]:
    """The sync that deploys an entry of the history again, with the sources of that time."""
    sync: dict[str, Any] = {"prune": prune}
    for one, several in (("revision", "revisions"), ("source", "sources")):
        if entry.get(several):
            sync[several] = entry[several]
        elif entry.get(one):
            sync[one] = entry[one]
    return sync


def operation(sync: Object, execution: str, options: Sequence[str]) -> dict[str, Any]:
    """An operation that tells whose it is. It applies, as `argocd app sync` does by default."""
    options = [*options]
    return {
        "initiatedBy": {"username": "keptn-remedy"},
        "info": [{"name": _INFO, "value": execution}],
        "sync": {**sync, **({"syncOptions": options} if options else {})},
    }


def options_of(application: Object) -> Sequence[str]:
    """The options of its sync policy, which an operation has to repeat."""
    policy: Object = spec_of(application).get("syncPolicy") or {}
    found: Sequence[str] = policy.get("syncOptions") or ()
    return found


def state_of(application: Object) -> Object:
    """The state of the operation that runs, or of the last one."""
    found: Object = status_of(application).get("operationState") or {}
    return found


def began(application: Object) -> str:
    """When the last operation began; it tells one from another."""
    return str(state_of(application).get("startedAt") or "")


def is_of(operation: Object, execution: str) -> bool:
    """Whether an operation is that of an execution of ours."""
    informed: Sequence[Object] = operation.get("info") or ()
    return any(each.get("name") == _INFO and each.get("value") == execution for each in informed)


def is_asked(application: Object, execution: str) -> bool:
    """Whether the operation of an execution waits, runs, or was the last one."""
    waiting: Object = application.get("operation") or {}
    told: Object = state_of(application).get("operation") or {}
    return is_of(waiting, execution) or is_of(told, execution)


def is_under_way(application: Object) -> bool:
    """Whether Argo CD carries an operation out."""
    return state_of(application).get("phase") in _UNDER_WAY


def check_is_free(application: Object) -> None:
    """Refuse a second operation beside one that is under way.

    Raises:
        Denied: says which.
    """
    state = state_of(application)
    if application.get("operation"):
        raise Denied("another operation of it waits for Argo CD")
    if is_under_way(application):
        raise Denied(
            f"another operation of it is under way: {state.get('message') or 'no message'}"
        )
