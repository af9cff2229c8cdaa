"""Who set a field, as the API server's record of field managers tells."""

from __future__ import annotations

from typing import Any

from keptn_remedy_actions.cluster import Object, meta_of
from keptn_remedy_actions.cluster.api import FIELD_MANAGER


def who_set(live: Object, pointer: str, since: str) -> str:
    """The manager that last wrote a field (by its JSON pointer) since a time (RFC 3339, UTC, whole
    seconds), or "somebody": releases before 1.22 don't record what came through a subresource.
    """
    entries: list[Object] = meta_of(live).get("managedFields") or []
    owners = [e for e in entries if _owns(e, pointer) and (e.get("time") or "") >= since]
    if not owners:
        return "somebody"
    # Within one second, who came after us is meant.
    newest = max(owners, key=lambda e: (e["time"], e.get("manager") != FIELD_MANAGER))
    return str(newest.get("manager"))


def wrote_last(live: Object, pointer: str) -> bool:
    """Whether we wrote a field (by its JSON pointer), and nobody did after us."""
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
