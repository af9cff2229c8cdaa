"""Change fields of one object, but only from the values that were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import Object, Ref
from keptn_remedy_actions.cluster.api import JSON_PATCH, ClusterApi, Conflict, Unprocessable

_MOST_CONFLICTS = 10


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its JSON pointer (RFC 6901); None stands for one that isn't there."""

    pointer: str
    before: int | str | None
    after: int | str | None
    omits_zero: bool = False
    """A Scale has no `replicas` where it has none."""

    @property
    def name(self) -> str:
        return self.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")

    @property
    def reversed(self) -> Field:
        return Field(self.pointer, self.after, self.before, self.omits_zero)

    def seen_in(self, live: Object) -> Any:
        """Its value in an object."""
        value: Any = live
        for part in self.pointer.split("/")[1:]:
            inside: Object = value or {}
            value = inside.get(part.replace("~1", "/").replace("~0", "~"))
        return 0 if value is None and self.omits_zero else value


class ChangedMeanwhile(PermanentError):
    """Somebody else changed a field; nothing was done."""

    def __init__(self, ref: Ref, field: Field, seen: Any) -> None:
        super().__init__(
            f"{field.name} of {ref} is {seen} now, and not {field.before}: left to who set it"
        )
        self.field = field
        self.seen = seen


async def compare_and_set(
    api: ClusterApi, ref: Ref, fields: Sequence[Field], subresource: str = "", *, uid: str = ""
) -> bool:
    """Set the fields in one patch; False when they were so already (after a crash, say). With a
    `uid`, of no namesake.

    Raises:
        ChangedMeanwhile: one has neither its recorded nor its wanted value.
    """
    rejected: Unprocessable | None = None
    for _ in range(_MOST_CONFLICTS):
        live = await api.get(ref, subresource)
        if all(field.seen_in(live) == field.after for field in fields):
            return False
        for field in fields:
            if (seen := field.seen_in(live)) != field.before:
                raise ChangedMeanwhile(ref, field, seen)
        if rejected:  # not by a `test`: the values are as recorded
            raise rejected
        try:
            await api.patch(ref, JSON_PATCH, _operations(fields, uid), subresource)
        except Conflict:
            continue
        except Unprocessable as error:
            rejected = error
            continue
        return True
    raise Conflict(f"{ref} was changed {_MOST_CONFLICTS} times while we looked")


def _operations(fields: Sequence[Field], uid: str) -> list[dict[str, Any]]:
    """A JSON patch (RFC 6902): all tests, then what is to be set."""
    tests, sets = list[dict[str, Any]](), list[dict[str, Any]]()
    if uid:
        tests.append({"op": "test", "path": "/metadata/uid", "value": uid})
    for field in fields:
        # null stands for a field that isn't there
        recorded = None if field.omits_zero and field.before == 0 else field.before
        tests.append({"op": "test", "path": field.pointer, "value": recorded})
        if field.after is None:
            sets.append({"op": "remove", "path": field.pointer})
        else:  # `add` replaces what is there
            sets.append({"op": "add", "path": field.pointer, "value": field.after})
    return tests + sets
