"""A Kubernetes Event on the object that was touched, for those who look there first."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from keptn_remedy import Context
from keptn_remedy_actions.cluster import EVENT, Object, Ref, uid_of
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict

_LONGEST_MESSAGE = 1024  # the API server refuses more
_LONGEST_NAME = 200


async def tell(
    api: ClusterApi, context: Context, ref: Ref, live: Object, reason: str, message: str
) -> None:
    """Write one Event per execution and reason, best effort: whoever may not, goes without."""
    event = _event(context.trigger.id, ref, live, reason, message)
    try:
        await api.create(EVENT, ref.namespace, event)
    except Conflict:  # written before a crash
        return
    except FAILURES as error:
        context.log.info("no Kubernetes Event was written", error=str(error))


def _event(execution: str, ref: Ref, live: Object, reason: str, message: str) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = sha256(f"{execution} {reason}".encode()).hexdigest()[:16]
    return {
        "metadata": {"name": f"{ref.name[:_LONGEST_NAME]}.{digest}", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.name,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": uid_of(live),
        },
        "type": "Normal",
        "reason": reason,
        "message": f"{message} (keptn-remedy execution {execution})"[:_LONGEST_MESSAGE],
        "source": {"component": "keptn-remedy"},
        "reportingComponent": "keptn-remedy",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
