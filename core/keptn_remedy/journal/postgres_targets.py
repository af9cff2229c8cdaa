"""Which execution of any replica holds which target, in the database."""

from __future__ import annotations

from collections.abc import Collection

from keptn_remedy.journal.ownership import TargetHeld
from keptn_remedy.journal.postgres_owner import ME
from keptn_remedy.journal.store import Cursor

REMEMBERED = 10_000

# Within this replica, `engine/target_locks` keeps executions apart.
_HOLD = f"""
INSERT INTO targets AS held (target, execution, replica)
SELECT target, $1, {ME} FROM unnest($2::text[]) AS given(target) ORDER BY target
ON CONFLICT (target) DO UPDATE SET execution = excluded.execution, replica = excluded.replica
WHERE held.execution IS NULL OR held.execution = excluded.execution OR held.replica = {ME}
RETURNING target, releases, released_by"""  # noqa: S608  our names
_LET_GO = "UPDATE targets SET execution = NULL WHERE execution = $1"
RELEASE = f"""
UPDATE targets SET execution = NULL, releases = releases + 1, released_by = {ME}
WHERE execution = $1"""  # noqa: S608  our names
_RELEASE_MINE = f"{RELEASE} AND replica = {ME}"
_WHO = f"SELECT {ME}"


class SharedTargets:
    """Holds targets from the admission of a plan until its execution has finished, and while an
    undo is under way. Used in the journal's writing thread.
    """

    def __init__(self) -> None:
        # How often each target had been released when it was looked at last: a plan that was made
        # before others changed it is made again, once.
        self._seen: dict[str, int] = {}

    def hold(
        self,
        cursor: Cursor,
        execution: int,
        targets: Collection[str],
        *,
        is_stale_too: bool = True,
    ) -> TargetHeld | None:
        """Hold all of them, or none: then why. `is_stale_too`: what another replica has changed
        since it was looked at here is not held either.
        """
        held = cursor.execute(_HOLD, (execution, sorted(targets))).fetchall()
        me = cursor.execute(_WHO).fetchone()[0]
        stale = [
            target
            for target, releases, released_by in held
            if self._note(target, releases) != releases and releases and released_by != me
        ]
        missing = set(targets) - {row[0] for row in held}
        if missing or (stale and is_stale_too):
            self.let_go(cursor, execution)
            return TargetHeld(", ".join(sorted(missing) or stale))
        return None

    def let_go(self, cursor: Cursor, execution: int) -> None:
        """Nothing was changed."""
        cursor.execute(_LET_GO, (execution,))

    def release(self, cursor: Cursor, execution: int) -> None:
        """What this replica holds may have been changed."""
        cursor.execute(_RELEASE_MINE, (execution,))

    def _note(self, target: str, releases: int) -> int | None:
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        was = self._seen.get(target)
        self._seen[target] = releases
        return was
