"""What rollbacks remember about the revisions of a workload."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from keptn_remedy import Context
from keptn_remedy_actions.cluster import Object, Ref
from keptn_remedy_actions.cluster.revisions import Revision, digest_of, stamps


class Known(BaseModel):
    """Good and bad revisions: the names of history objects, each with the time of the note."""

    uid: str = ""
    """The uid of the workload: a recreated one has another history."""
    last: str = ""
    """The execution that finished a rollback last."""
    begun: str = ""
    """The execution that began one last."""
    bad: dict[str, str] = {}
    """The revisions that were rolled back from."""
    good: dict[str, str] = {}
    """The revisions that were seen fully available."""
    stored: dict[str, str] = {}
    """Which revision a template is that we stored, by its digest: admission may have changed it."""
    stamped: set[str] = set()
    """The labels and annotations that admission sets, perhaps at each update: not in digests."""

    def note_bad(self, name: str, history: Sequence[Revision]) -> None:
        """Note a revision as bad, with all others that differ only by a restart."""
        for each in _of_same_program(name, history):
            self.bad[each.name] = _now()
            self.good.pop(each.name, None)

    def note_good(self, name: str, history: Sequence[Revision]) -> None:
        """Note a revision as good. It may have been bad: a person can name it in `value`."""
        self.good[name] = _now()
        self.forgive(name, history)

    def note_stored(self, revision: Revision, stored: Object) -> None:
        """Note what admission made of a revision's template."""
        self.stamped |= stamps(revision.template, stored)
        self.stored[digest_of(stored, but_for=self.stamped)] = revision.name

    def stored_as(self, template: Object) -> str | None:
        """The name of the revision that we stored as this template."""
        return self.stored.get(digest_of(template, but_for=self.stamped))

    def forgive(self, name: str, history: Sequence[Revision]) -> None:
        """No longer note a revision as bad: its rollback was undone."""
        for each in _of_same_program(name, history):
            self.bad.pop(each.name, None)


async def recall(context: Context, workload: Ref, uid: str) -> Known:
    """What is stored about the workload with this uid."""
    known = Known.model_validate(await context.memory.get(workload.target) or {})
    return known if known.uid == uid else Known(uid=uid)


async def keep(context: Context, workload: Ref, known: Known, history: Sequence[Revision]) -> None:
    """Store what is known of the revisions that the cluster still has."""
    names = {revision.name for revision in history}
    kept = Known(
        uid=known.uid,
        last=known.last,
        begun=known.begun,
        bad={name: when for name, when in known.bad.items() if name in names},
        good={name: when for name, when in known.good.items() if name in names},
        stored={digest: name for digest, name in known.stored.items() if name in names},
        stamped=known.stamped,
    )
    await context.memory.put(workload.target, kept.model_dump(mode="json"))


def _of_same_program(name: str, history: Sequence[Revision]) -> list[Revision]:
    named = [each for each in history if each.name == name]
    return [each for each in history if named and each.is_same_program(named[0])]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
