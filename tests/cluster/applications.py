"""Applications of Argo CD, whose controller the tests are."""

from __future__ import annotations

from typing import Any

from tests.cluster.client import Json
from tests.cluster.namespace import Namespace

SOURCE = {"repoURL": "https://git.example/carts", "path": "deploy", "targetRevision": "main"}
AUTOMATED = {"prune": True, "selfHeal": True}
BEGAN, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"


async def application(
    namespace: Namespace, *, automated: Any = None, name: str = "carts", **others: Any
) -> Json:
    """One that had the revisions a, b and c deployed, and is healthy."""
    policy = {"syncPolicy": {"automated": automated, "syncOptions": ["CreateNamespace=true"]}}
    history = [entry(number, revision) for number, revision in enumerate("abc")]
    status = {"health": {"status": "Healthy"}, "history": history}
    spec = {"source": SOURCE, "project": "default", **(policy if automated is not None else {})}
    return await namespace.create("applications", name, spec=spec, status=status, **others)


def entry(number: int, revision: str) -> Json:
    return {"id": number, "revision": revision, "source": SOURCE, "deployedAt": BEGAN}


async def live(namespace: Namespace, name: str = "carts") -> Json:
    return await namespace.get("applications", name)


async def begun(namespace: Namespace, name: str = "carts", phase: str = "Running") -> Json:
    """Take the operation out, as the controller does when it begins with it."""
    found = await namespace.until("applications", name, lambda it: bool(it.get("operation")))
    state = {"operation": found["operation"], "phase": phase, "startedAt": BEGAN}
    return await namespace.patch(
        "applications",
        name,
        {"operation": None, "status": {"operationState": {**state, "message": "as told"}}},
    )


async def deployed(namespace: Namespace, name: str = "carts", health: str = "Healthy") -> None:
    """Carry out the operation that waits, and look at the health since."""
    found = await begun(namespace, name)
    status = found["status"]
    sync = status["operationState"]["operation"]["sync"]
    history = [*status["history"], entry(len(status["history"]), sync.get("revision", "d"))]
    state = {"phase": "Succeeded", "finishedAt": ENDED}
    changed = {"operationState": state, "history": history, "health": {"status": health}}
    await namespace.patch("applications", name, {"status": {**changed, "reconciledAt": ENDED}})
