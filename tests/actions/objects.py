"""A read-only API server with a few objects: enough for making plans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from keptn_remedy_actions.cluster import Kind


@asynccontextmanager
async def showing(folder: Path, objects: Mapping[tuple[Kind, str], Any]) -> AsyncIterator[str]:
    """A kubeconfig for a server with these objects in the namespace `sockshop-production`."""
    paths = {
        f"{kind.path('sockshop-production')}/{name}": {"metadata": {"name": name}} | content
        for (kind, name), content in objects.items()
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        path = request.path.removesuffix("/scale")
        listed = [item for at, item in paths.items() if at.rpartition("/")[0] == path]
        if request.method != "GET":
            return web.json_response({"message": "these objects don't change"}, status=405)
        if path in paths:
            return web.json_response(paths[path])
        if path.rpartition("/")[0].endswith("/sockshop-production"):  # a list, which may be empty
            return web.json_response({"metadata": {}, "items": listed})
        return web.json_response({"message": f"{path} not found"}, status=404)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield _kubeconfig(folder, "http://{}:{}".format(*runner.addresses[0]))
    finally:
        await runner.cleanup()


def _kubeconfig(folder: Path, server: str) -> str:
    path = folder / "kubeconfig"
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)
