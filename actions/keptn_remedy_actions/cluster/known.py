"""What is remembered of a workload's revisions from one rollback to the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from keptn_remedy import Context
from keptn_remedy_actions.cluster import Ref
from keptn_remedy_actions.cluster.revisions import Revision


class Known(BaseModel):
    """By the names of the history objects, which hold a hash of the template; and since when."""

    uid: str = ""
    """Of the workload: one that was made anew has another history."""
    last: str = ""
    """The execution that went back last."""
    begun: str = ""
    """The one that began to."""
    bad: dict[str, str] = {}
    """Those that were rolled back from."""
    good: dict[str, str] = {}
    """Those that were seen fully available."""

    def note_bad(self, name: str, history: Sequence[Revision]) -> None:
        """The program of a revision is bad, whenever it was restarted."""
        for each in _of_same_program(name, history):
            self.bad[each.name] = _now()
            self.good.pop(each.name, None)

    def note_good(self, name: str, history: Sequence[Revision]) -> None:
        """It is bad no longer, if it was: then a person had named it."""
        self.good[name] = _now()
        self.forgive(name, history)

    def forgive(self, name: str, history: Sequence[Revision]) -> None:
        """A person wanted it back."""
        for each in _of_same_program(name, history):
            self.bad.pop(each.name, None)


async def recall(context: Context, workload: Ref, uid: str) -> Known:
    """What was kept of this very workload."""
    known = Known.model_validate(await context.memory.get(workload.target) or {})
    return known if known.uid == uid else Known(uid=uid)


async def keep(context: Context, workload: Ref, known: Known, history: Sequence[Revision]) -> None:
    """Keep what is known of revisions that the cluster still has."""
    names = {revision.name for revision in history}
    kept = Known(
        uid=known.uid,
        last=known.last,
        begun=known.begun,
        bad={name: when for name, when in known.bad.items() if name in names},
        good={name: when for name, when in known.good.items() if name in names},
    )
    await context.memory.put(workload.target, kept.model_dump())


def _of_same_program(name: str, history: Sequence[Revision]) -> list[Revision]:
    named = [each for each in history if each.name == name]
    return [each for each in history if named and each.is_same_program(named[0])]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
