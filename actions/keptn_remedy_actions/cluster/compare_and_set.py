"""Changes fields of an object, but only from the values that a plan recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import Object, Ref, version_of
from keptn_remedy_actions.cluster.api import JSON_PATCH, ClusterApi, Conflict, Unprocessable
from keptn_remedy_actions.cluster.rehearsal import check_changed, rehearse

_MOST_CONFLICTS = 10


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its JSON pointer (RFC 6901), before and after; None stands for an absent one."""

    pointer: str
    before: Any
    after: Any
    omits_zero: bool = False
    """Whether 0 is written as an absent field, like `replicas` of a Scale."""

    @property
    def name(self) -> str:
        return self.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")

    @property
    def reversed(self) -> Field:
        return Field(self.pointer, self.after, self.before, self.omits_zero)

    def seen_in(self, live: Object) -> Any:
        """Its value in an object; None if it is absent."""
        value: Any = live
        for part in self.pointer.split("/")[1:]:
            value = _inside(value, part.replace("~1", "/").replace("~0", "~"))
        return 0 if value is None and self.omits_zero else value


class ChangedMeanwhile(PermanentError):
    """Somebody else changed a field, so nothing was set."""

    def __init__(self, ref: Ref, field: Field, seen: Any) -> None:
        super().__init__(
            f"{field.name} of {ref} is {seen}, and {field.before} was expected: it was changed"
            " since, so it is left alone"
        )
        self.field = field
        self.seen = seen


class Altered(PermanentError):
    """The cluster's admission stored another value than we sent."""

    def __init__(self, ref: Ref, field: Field, seen: Any) -> None:
        super().__init__(
            f"{field.name} of {ref} was set to {field.after}, and the cluster's admission made it"
            f" {seen}"
        )


async def foreseen(
    api: ClusterApi, ref: Ref, fields: Sequence[Field], subresource: str = ""
) -> list[Any]:
    """The values that the fields would have after the patch, by a dry run of it.

    Raises:
        PermanentError: the patch would be refused.
        Conflict: the object kept changing.
    """
    answer = await rehearse(api, ref, JSON_PATCH, [_set(field) for field in fields], subresource)
    return [field.after if answer is None else field.seen_in(answer) for field in fields]


async def compare_and_set(
    api: ClusterApi, ref: Ref, fields: Sequence[Field], subresource: str = "", *, uid: str = ""
) -> bool:
    """Set the fields in one patch; False where they are so already, such as after a crash.

    With `uid`, another object of the same name is not changed.

    Raises:
        ChangedMeanwhile: a field has neither its recorded nor its wanted value.
        Altered: admission changed a value on its way.
        PermanentError: the patch is refused.
        Conflict: the object kept changing.
    """
    rejected: Unprocessable | None = None
    conflict: tuple[Conflict, str] | None = None
    for _ in range(_MOST_CONFLICTS):
        live = await api.get(ref, subresource)
        if not _is_due(ref, live, fields):
            return False
        if rejected:  # for another reason than a `test`: the values are as recorded
            raise rejected
        if conflict:
            check_changed(*conflict, version_of(live))
        try:
            answer = await api.patch(ref, JSON_PATCH, _operations(fields, uid), subresource)
        except Conflict as error:
            conflict = error, version_of(live)
            continue
        except Unprocessable as error:
            rejected = error
            continue
        _check_stored(ref, answer, fields)
        return True
    raise Conflict(f"{ref} was changed {_MOST_CONFLICTS} times while we read it")


def _is_due(ref: Ref, live: Object, fields: Sequence[Field]) -> bool:
    """Whether the fields are still to be set.

    Raises:
        ChangedMeanwhile: one has neither its recorded nor its wanted value.
    """
    if all(field.seen_in(live) == field.after for field in fields):
        return False
    for field in fields:
        if (seen := field.seen_in(live)) != field.before:
            raise ChangedMeanwhile(ref, field, seen)
    return True


def _check_stored(ref: Ref, answer: Object, fields: Sequence[Field]) -> None:
    """Raises Altered where the answer to the patch has another value than was sent."""
    for field in fields:
        if (stored := field.seen_in(answer)) != field.after:
            raise Altered(ref, field, stored)


def _inside(value: Any, part: str) -> Any:
    """What a map has under a name, or a list at an index; None where there is nothing."""
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return items[int(part)] if int(part) < len(items) else None
    entries: Object = value or {}
    return entries.get(part)


def _operations(fields: Sequence[Field], uid: str) -> list[dict[str, Any]]:
    """A JSON patch (RFC 6902): first all tests, then the values."""
    tests = list[dict[str, Any]]()
    if uid:
        tests.append({"op": "test", "path": "/metadata/uid", "value": uid})
    for field in fields:
        # null stands for an absent field
        recorded = None if field.omits_zero and field.before == 0 else field.before
        tests.append({"op": "test", "path": field.pointer, "value": recorded})
    return [*tests, *map(_set, fields)]


def _set(field: Field) -> dict[str, Any]:
    if field.after is None:
        return {"op": "remove", "path": field.pointer}
    return {"op": "add", "path": field.pointer, "value": field.after}  # replaces what is there
