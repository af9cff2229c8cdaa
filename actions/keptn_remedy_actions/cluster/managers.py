"""Who set a field, by the API server's record of field managers."""

from __future__ import annotations

from typing import Any

from keptn_remedy_actions.cluster import Object, meta_of
from keptn_remedy_actions.cluster.api import FIELD_MANAGER


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


def _owns(entry: Object, pointer: str) -> bool:
    fields: Any = entry.get("fieldsV1") or {}
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if f"f:{name}" not in fields:
            return False
        fields = fields[f"f:{name}"]
    return True
