"""A stand-in for Kubernetes 1.33 before an older API server: it adds `pods/resize`."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cluster.client import ApiError, Cluster, Json
from tests.cluster.gateway import Gateway

RESOURCE = {"name": "pods/resize", "namespaced": True, "kind": "Pod", "verbs": ["get", "patch"]}
NOT_OFFERED = 404  # what an API server without the subresource answers to whoever may use it


class Resizing(Gateway):
    """Keeps the new sizes of pods and shows them in all that is read. Rights are the real server's.

    `pending` is what the kubelet says of a resize, as a reason and a message; `refuses` what the
    API server says.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.pending: tuple[str, str] | None = None
        self.refuses = ""
        self.resized = 0
        self._sizes: dict[str, list[Json]] = {}
        self._actual: dict[str, list[Json]] = {}

    @classmethod
    @asynccontextmanager
    async def before(cls, kubeconfig: Path, folder: Path) -> AsyncIterator[Resizing]:
        async with super().before(kubeconfig, folder) as gateway:
            assert isinstance(gateway, Resizing)
            yield gateway

    def kubelet_acts(self) -> None:
        """The kubelet takes up what was asked for."""
        self.pending = None
        self._actual = copy.deepcopy(self._sizes)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/resize"):
            return await self._resize(request)
        answer = await super()._answer(request)
        if answer.status != 200 or request.method != "GET":
            return answer
        said = _json(answer)
        if request.path == "/api/v1":
            said["resources"].append(RESOURCE)
        elif "pods" in request.path.split("/")[-2:]:  # a list of them, or one
            for pod in said.get("items", [said]):
                self._show(pod)
        return web.json_response(said)

    async def _resize(self, request: web.BaseRequest) -> web.Response:
        path = request.path.removesuffix("/resize")
        try:
            body: Any = [] if request.method == "PATCH" else None
            await self._cluster.call(request.method, request.path, body)
        except ApiError as error:
            if error.status not in (NOT_OFFERED, 405):
                return web.json_response(error.body, status=error.status)
        pod = await self._pod(path)
        if pod is None or request.method == "GET":
            missing = {"reason": "NotFound", "message": f"{path} not found"}
            return web.json_response(pod or missing, status=200 if pod else 404)
        if self.refuses:
            return web.json_response({"reason": "Invalid", "message": self.refuses}, status=422)
        try:
            patched = patched_by(await request.json(), pod)
        except ValueError as error:
            return web.json_response({"reason": "Invalid", "message": str(error)}, status=422)
        if "dryRun" not in request.query:
            sizes = [each.get("resources") or {} for each in patched["spec"]["containers"]]
            self._sizes[pod["metadata"]["uid"]] = sizes
            self.resized += 1
            if self.pending is None:
                self._actual[pod["metadata"]["uid"]] = sizes
        return web.json_response(patched)

    async def _pod(self, path: str) -> Json | None:
        # The administrator's reading: the rights to the subresource were the server's to check.
        try:
            pod = await self._cluster.call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        self._show(pod)
        return pod

    def _show(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        containers, status = pod["spec"]["containers"], pod.setdefault("status", {})
        actual = self._actual.get(uid) or [each.get("resources") or {} for each in containers]
        for each, size in zip(containers, self._sizes.get(uid) or [], strict=False):
            each["resources"] = size
        for each, size in zip(status.get("containerStatuses") or [], actual, strict=False):
            each["resources"] = size
        if uid in self._sizes and self.pending:
            reason, message = self.pending
            condition = {"type": "PodResizePending", "status": "True", "reason": reason}
            status.setdefault("conditions", []).append({**condition, "message": message})


def _json(answer: web.Response) -> Json:
    said: Json = json.loads(answer.text or "{}")
    return said


def patched_by(patch: Any, found: Json) -> Json:
    """The object after a JSON patch.

    Raises:
        ValueError: a test fails.
    """
    patched = copy.deepcopy(found)
    for operation in patch:
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        inside: Any = patched
        for part in way:
            inside = inside[int(part)] if isinstance(inside, list) else inside.setdefault(part, {})
        if operation["op"] == "test":
            if inside.get(last) != operation["value"]:
                raise ValueError("the server rejected our request due to an error in our request")
        elif operation["op"] == "remove":
            inside.pop(last, None)
        else:
            inside[last] = operation["value"]
    return patched
