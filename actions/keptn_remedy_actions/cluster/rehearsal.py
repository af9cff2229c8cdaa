"""Asks the API server what it would make of a change, while the change is only planned."""

from __future__ import annotations

from typing import Any

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import Object, Ref, version_of
from keptn_remedy_actions.cluster.api import ClusterApi, Conflict

_MOST_CONFLICTS = 3
# As the API server words it where a webhook may have side effects.
_NO_DRY_RUN = "does not support dry run"


async def rehearse(
    api: ClusterApi, ref: Ref, how: str, body: Any, subresource: str = ""
) -> Object | None:
    """The object as admission would let it pass, by a dry run of the patch.

    None where a webhook takes no part in dry runs.

    Raises:
        PermanentError: the patch would be refused.
        Conflict: the object kept changing.
    """
    version: str | None = None
    for _ in range(_MOST_CONFLICTS):
        try:
            return await api.patch(ref, how, body, subresource, dry_run=True)
        except Conflict as error:
            conflict, seen = error, version_of(await api.get(ref, subresource))
            check_changed(conflict, version, seen)
            version = seen
        except PermanentError as error:
            if _NO_DRY_RUN in str(error):
                return None
            raise
    raise Conflict(f"{ref} was changed {_MOST_CONFLICTS} times while we asked")


def check_changed(conflict: Conflict, before: str | None, now: str) -> None:
    """Refuse a conflict about an object that nobody changed: no further try would end better.

    Raises:
        PermanentError: its version is the same before and after the conflict.
    """
    if before and before == now:
        raise PermanentError(f"refused, as nobody changed it meanwhile: {conflict}")
