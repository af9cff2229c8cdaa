"""The files of Keptn's repository that a Job gets: read, compared with the plan, and mounted."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from keptn_remedy import Context, Denied, PermanentError, ResourceNotFound
from keptn_remedy_actions.cluster import Object

FOLDER = "/keptn"
"""Where they are in the container."""
MOST_BYTES = 900 * 1024
"""A ConfigMap takes 1 MiB, with its keys."""


def checked_path(uri: str) -> str:
    """A file's or folder's path without the `/` around it.

    Raises:
        PermanentError: it leads out of the service's files.
    """
    path = uri.strip().strip("/")
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise PermanentError(f"{uri!r} is no file or folder of Keptn's repository")
    return path


async def read_files(context: Context, paths: Sequence[str]) -> dict[str, bytes]:
    """The files by name. A path without a file stands for all that the service has below it.

    Raises:
        PermanentError: a path has neither, the files are too large, or one is in the place of a
            folder of another.
    """
    found = dict[str, bytes]()
    for path in paths:
        found |= await _file_or_folder(context, path)
        if (size := sum(map(len, found.values()))) > MOST_BYTES:
            raise PermanentError(f"the files take {size:,} bytes, and may take {MOST_BYTES:,}")
    for name in found:
        for folder in _folders_of(name):
            if folder in found:
                raise PermanentError(f"{folder} can't be a file and the folder of {name}")
    return found


async def _file_or_folder(context: Context, path: str) -> Mapping[str, bytes]:
    try:
        return {path: await context.keptn.resource(path)}
    except ResourceNotFound as no_file:
        try:
            return await context.keptn.folder(path)
        except ResourceNotFound as no_folder:
            raise PermanentError(f"{no_file}, and {no_folder}") from None


def _folders_of(name: str) -> Sequence[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def digests_of(contents: Mapping[str, bytes]) -> dict[str, str]:
    """The SHA-256 of each file."""
    return {name: sha256(content).hexdigest() for name, content in contents.items()}


def check_unchanged(planned: Mapping[str, str], contents: Mapping[str, bytes]) -> None:
    """Refuse files that aren't those of the plan.

    Raises:
        Denied: one was changed, added or removed.
    """
    now = digests_of(contents)
    for name in sorted(planned.keys() | now.keys()):
        if planned.get(name) == now.get(name):
            continue
        how = "removed" if name not in now else "changed" if name in planned else "added"
        raise Denied(f"{name} was {how} since the plan")


def mount(pod: dict[str, Any], container: dict[str, Any], name: str, files: Sequence[str]) -> None:
    """Let a container find the files of the ConfigMap `name` in `FOLDER`."""
    items = [{"key": _key(file), "path": file} for file in files]
    volume = {"name": "keptn-files", "configMap": {"name": name, "items": items}}
    pod["volumes"] = [*(pod.get("volumes") or ()), volume]
    mounted = {"name": "keptn-files", "mountPath": FOLDER, "readOnly": True}
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mounted]


def config_map(name: str, namespace: str, job: Object, contents: Mapping[str, bytes]) -> Object:
    """The ConfigMap with the files; it is deleted with its Job."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    files = contents.items()
    return {
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner]},
        "binaryData": {_key(file): base64.b64encode(content).decode() for file, content in files},
    }


def _key(name: str) -> str:
    # A key takes neither `/` nor every other character, and names must not run into one another.
    return sha256(name.encode()).hexdigest()[:32]
