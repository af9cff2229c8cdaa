"""Keptn's uniform: who is registered, and which subscriptions are stored (docs/keptn.md#k7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web

from keptn_remedy.testing.keptn_task import map_of


@dataclass(slots=True)
class StoredIntegration:
    """An integration as Keptn stores it. `beats` counts how often it said that it is there."""

    id: str
    name: str
    metadata: Mapping[str, Any]
    subscriptions: list[dict[str, Any]]
    beats: int = 0


class Uniform:
    """The integrations, by their ids."""

    def __init__(self) -> None:
        self.integrations: dict[str, StoredIntegration] = {}

    async def register(self, request: web.Request) -> web.Response:
        """Store an integration, or find the one of its name and namespace, whose subscriptions
        stay unless it has none.
        """
        asked = map_of(orjson.loads(await request.read()))
        name, metadata = asked.get("name"), map_of(asked.get("metadata"))
        namespace = map_of(metadata.get("kubernetesmetadata")).get("namespace")
        if not (name and namespace and metadata.get("hostname")):
            return _answer(400, code=400, message="incomplete integration ID")
        wanted = [{**each, "id": str(uuid4())} for each in asked.get("subscriptions") or ()]
        for known in self.integrations.values():
            kubernetes = map_of(known.metadata.get("kubernetesmetadata"))
            if (known.name, kubernetes.get("namespace")) == (name, namespace):
                known.subscriptions = known.subscriptions or wanted
                return _answer(200, id=known.id)
        written = f"{name}-{namespace}-{metadata['hostname']}".encode()
        id_ = sha1(written, usedforsecurity=False).hexdigest()
        self.integrations[id_] = StoredIntegration(id_, name, metadata, wanted)
        return _answer(201, id=id_)

    async def beat(self, request: web.Request) -> web.Response:
        """Tell an integration its subscriptions."""
        known = self.integrations.get(request.match_info["id"])
        if known is None:
            return _answer(404, code=404, message="could not find integration")
        known.beats += 1
        told = {"id": known.id, "name": known.name, "metadata": known.metadata}
        return _answer(200, **told, subscriptions=known.subscriptions or None)


def _answer(status: int, **content: Any) -> web.Response:
    body = orjson.dumps(content)
    return web.Response(status=status, body=body, content_type="application/json")
