"""A read-only API server with a few objects: enough for making plans."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from keptn_remedy_actions.cluster import Kind


@asynccontextmanager
async def showing(
    folder: Path,
    objects: Mapping[tuple[Kind, str], Any],
    *,
    admit: Callable[[Any], Any] = lambda patched: patched,
    lacks: Collection[Kind] = (),
) -> AsyncIterator[str]:
    """A kubeconfig for a server with these objects in the namespace `sockshop-production`.

    `admit` stands in for admission: it changes what a dry run returns, or returns a web.Response.
    The kinds that it `lacks` are not served.
    """
    paths = {
        f"{kind.path('sockshop-production')}/{name}": {"metadata": {"name": name}} | content
        for (kind, name), content in objects.items()
    }

    unserved = [kind.path("sockshop-production") for kind in lacks]

    async def answer(request: web.BaseRequest) -> web.Response:
        path = request.path.removesuffix("/scale")
        listed = [item for at, item in paths.items() if at.rpartition("/")[0] == path]
        if request.method == "PATCH" and request.query.get("dryRun") == "All" and path in paths:
            made = admit(_patched(paths[path], await request.json()))
            return made if isinstance(made, web.Response) else web.json_response(made)
        if request.method != "GET":
            return web.json_response({"message": "these objects don't change"}, status=405)
        if path in paths:
            return web.json_response(paths[path])
        if path in unserved:
            return web.json_response({"message": "404 page not found"}, status=404)
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


def _patched(found: Any, patch: Any) -> Any:
    """The object after a JSON patch without tests, or after a merge patch."""
    patched = copy.deepcopy(found)
    if isinstance(patch, dict):
        return _merged(patched, patch)
    for operation in patch:
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        inside = patched
        for part in way:
            inside = inside.setdefault(part, {})
        inside.pop(last, None)
        if operation["op"] != "remove":
            inside[last] = operation["value"]
    return patched


def _merged(found: Any, patch: Any) -> Any:
    for key, value in patch.items():
        found[key] = _merged(found.get(key, {}), value) if isinstance(value, dict) else value
    return found


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
