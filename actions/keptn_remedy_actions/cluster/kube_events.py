"""Kubernetes Events on the touched object, for people who look there first."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from keptn_remedy import Context
from keptn_remedy_actions.cluster import EVENT, Object, Ref, uid_of
from keptn_remedy_actions.cluster.answers import shortened
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict

_LONGEST_MESSAGE = 1024  # the API server rejects more
_LONGEST_NAME = 200


async def record(
    api: ClusterApi, context: Context, ref: Ref, live: Object, reason: str, message: str
) -> None:
    """Write an Event, one per execution and reason. A failure to write it is only logged."""
    execution = context.trigger.id
    await _write(api, context, ref, _event(execution, ref, live, reason, message))


async def warn(
    api: ClusterApi, context: Context, ref: Ref, live: Object, reason: str, message: str
) -> None:
    """Write a Warning, one per execution, reason and message. A failure is only logged."""
    event = _event(context.trigger.id, ref, live, reason, message, kind="Warning", apart=message)
    await _write(api, context, ref, event)


async def _write(api: ClusterApi, context: Context, ref: Ref, event: Object) -> None:
    if not ref.namespace:  # such as a node: its Events need rights in another namespace
        return
    try:
        await api.create(EVENT, ref.namespace, event)
    except Conflict:  # written before a crash
        return
    except FAILURES as error:
        context.log.info("the Kubernetes Event was not written", error=str(error))


def _event(
    execution: str,
    ref: Ref,
    live: Object,
    reason: str,
    message: str,
    *,
    kind: Literal["Normal", "Warning"] = "Normal",
    apart: str = "",
) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    order = f" (keptn-remedy execution {execution})"
    digest = sha256(f"{execution} {reason}{apart}".encode()).hexdigest()[:16]
    return {
        "metadata": {"name": f"{ref.name[:_LONGEST_NAME]}.{digest}", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.name,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": uid_of(live),
        },
        "type": kind,
        "reason": reason,
        "message": shortened(message, _LONGEST_MESSAGE - len(order)) + order,
        "source": {"component": "keptn-remedy"},
        "reportingComponent": "keptn-remedy",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
