"""A Kubernetes Event on the object that was touched, for those who look there first."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from keptn_remedy import Context
from keptn_remedy_actions.cluster import EVENT, Object, Ref, uid_of
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict

_LONGEST_MESSAGE = 1024  # the API server refuses more
_LONGEST_NAME = 200


async def tell(
    api: ClusterApi, context: Context, ref: Ref, live: Object, reason: str, message: str
) -> None:
    """Write one Event per execution and reason, best effort: whoever may not, goes without."""
    execution = context.trigger.id
    await _write(api, context, ref, _event(execution, ref, live, reason, message))


async def warn(
    api: ClusterApi, context: Context, ref: Ref, live: Object, reason: str, message: str
) -> None:
    """Write a Warning, best effort: one per execution, reason and message."""
    event = _event(context.trigger.id, ref, live, reason, message, told="Warning", apart=message)
    await _write(api, context, ref, event)


async def _write(api: ClusterApi, context: Context, ref: Ref, event: Object) -> None:
    try:
        await api.create(EVENT, ref.namespace, event)
    except Conflict:  # written before a crash
        return
    except FAILURES as error:
        context.log.info("no Kubernetes Event was written", error=str(error))


def _event(
    execution: str,
    ref: Ref,
    live: Object,
    reason: str,
    message: str,
    *,
    told: Literal["Normal", "Warning"] = "Normal",
    apart: str = "",
) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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
        "type": told,
        "reason": reason,
        "message": f"{message} (keptn-remedy execution {execution})"[:_LONGEST_MESSAGE],
        "source": {"component": "keptn-remedy"},
        "reportingComponent": "keptn-remedy",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
