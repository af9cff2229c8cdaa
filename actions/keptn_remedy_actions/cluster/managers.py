"""Who set a field, by the API server's record of field managers; and how we leave that record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from keptn_remedy_actions.cluster import Object, Ref, meta_of
from keptn_remedy_actions.cluster.api import (
    FIELD_MANAGER,
    JSON_PATCH,
    ClusterApi,
    Conflict,
    Unprocessable,
)

_MOST_CONFLICTS = 10


def who_set(live: Object, pointer: str, since: str) -> str:
    """The manager that last wrote a field since a time, or "somebody" if none is recorded.

    `pointer` is a JSON pointer, `since` RFC 3339 in UTC and whole seconds. Kubernetes before 1.22
    doesn't record writes through a subresource.
    """
    entries: list[Object] = meta_of(live).get("managedFields") or []
    owners = [e for e in entries if _owns(e, pointer) and (e.get("time") or "") >= since]
    if not owners:
        return "somebody"
    # Times have whole seconds: of writers in the same second, prefer another than us.
    newest = max(owners, key=lambda e: (e["time"], e.get("manager") != FIELD_MANAGER))
    return str(newest.get("manager"))


def wrote_last(live: Object, pointer: str) -> bool:
    """Whether we were the last to write a field; `pointer` is a JSON pointer."""
    entries: list[Object] = meta_of(live).get("managedFields") or []
    writers = [entry for entry in entries if _owns(entry, pointer)]
    ours = [e.get("time") or "" for e in writers if e.get("manager") == FIELD_MANAGER]
    return bool(ours) and all(max(ours) >= (e.get("time") or "") for e in writers)


def appliers_of(live: Object, pointer: str) -> str:
    """The managers that own the field by server-side apply, in words; empty if none does."""
    entries: list[Object] = meta_of(live).get("managedFields") or []
    names = [
        str(entry.get("manager"))
        for entry in entries
        if entry.get("operation") == "Apply" and _owns(entry, pointer)
    ]
    return ", ".join(sorted({*names} - {FIELD_MANAGER}))


async def let_go(api: ClusterApi, ref: Ref, pointers: Sequence[str]) -> None:
    """Remove our entries about these fields from `managedFields`, so that nobody's next server-side
    apply conflicts with us.
    """
    for _ in range(_MOST_CONFLICTS):
        entries: list[Object] = meta_of(await api.get(ref)).get("managedFields") or []
        ours = [n for n, entry in enumerate(entries) if _is_ours(entry, pointers)]
        if not ours:
            return
        with suppress(Conflict, Unprocessable):  # others wrote, which may move the entries
            await api.patch(ref, JSON_PATCH, _without(entries, ours))
            return


def _is_ours(entry: Object, pointers: Sequence[str]) -> bool:
    is_owner = any(_owns(entry, pointer) for pointer in pointers)
    return is_owner and entry.get("manager") == FIELD_MANAGER


def _without(entries: Sequence[Object], gone: Sequence[int]) -> list[dict[str, Any]]:
    path = "/metadata/managedFields"
    tests = [{"op": "test", "path": f"{path}/{n}", "value": entries[n]} for n in gone]
    if len(gone) == len(entries):  # an empty list would be ignored
        return [*tests, {"op": "replace", "path": path, "value": [{}]}]
    return [*tests, *({"op": "remove", "path": f"{path}/{n}"} for n in reversed(gone))]


def _owns(entry: Object, pointer: str) -> bool:
    fields: Any = entry.get("fieldsV1") or {}
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if f"f:{name}" not in fields:
            return False
        fields = fields[f"f:{name}"]
    return True
