"""Which execution of any replica holds which target, in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from keptn_remedy.journal.postgres_owner import IS_MINE, ME
from keptn_remedy.journal.store import Cursor

REMEMBERED = 10_000

# As far as the executions are this replica's. Within it, `engine/target_locks` keeps them apart.
HOLD_ALL = f"""
INSERT INTO targets AS held (target, execution, replica)
SELECT target, execution, {ME} FROM unnest($1::bigint[], $2::text[]) AS given(execution, target)
    JOIN executions ON seq = execution AND state <> 'finished' AND {IS_MINE}
ORDER BY target
ON CONFLICT (target) DO UPDATE SET execution = excluded.execution, replica = excluded.replica
WHERE held.execution IS NULL OR held.execution = excluded.execution OR held.replica = {ME}
RETURNING target, releases, released_by"""  # noqa: S608  our names
LET_GO_ALL = "UPDATE targets SET execution = NULL WHERE execution = ANY($1::bigint[])"
_LET_GO = "UPDATE targets SET execution = NULL WHERE execution = $1"
RELEASE = f"""
UPDATE targets SET execution = NULL, releases = releases + 1, released_by = {ME}
WHERE execution = $1"""  # noqa: S608  our names
_RELEASE_MINE = f"{RELEASE} AND replica = {ME}"
_HOLD = f"""
INSERT INTO targets AS held (target, execution, replica)
SELECT target, $1, {ME} FROM unnest($2::text[]) AS given(target) ORDER BY target
ON CONFLICT (target) DO UPDATE SET execution = excluded.execution, replica = excluded.replica
WHERE held.execution IS NULL OR held.execution = excluded.execution OR held.replica = {ME}
RETURNING target, releases"""  # noqa: S608  our names

_LOCK = f"SELECT state, {IS_MINE} FROM executions WHERE seq = $1 FOR UPDATE"  # noqa: S608
_LOCK_UNDONE = f"""
SELECT replica = {ME} FROM targets WHERE execution = $1 ORDER BY target FOR UPDATE"""  # noqa: S608


def may_act_for(cursor: Cursor, execution: int) -> bool:
    """Whether this replica acts for an execution, or undoes it; it stays so until what is to be
    changed has been stored.
    """
    state, is_mine = cursor.execute(_LOCK, (execution,)).fetchone() or (None, False)
    if state != "finished":
        return bool(is_mine)
    undone = cursor.execute(_LOCK_UNDONE, (execution,)).fetchall()
    return all(row[0] for row in undone) if undone else bool(is_mine)


class SharedTargets:
    """Holds targets from the admission of a plan until its execution has finished, and while an
    undo is under way. Used in the journal's writing thread.
    """

    def __init__(self) -> None:
        # How often each target had been released when it was looked at last: a plan that was made
        # before others changed it is made again, once.
        self._seen: dict[str, int] = {}

    def is_stale(self, target: str, held: Mapping[str, tuple[int, int | None]], me: int) -> bool:
        """Whether another replica than `me` has changed a held target since it was looked at here.
        `held` has how often each was released, and by whom last.
        """
        releases, released_by = held.get(target, (0, None))
        return bool(releases) and released_by != me and self._seen.get(target) != releases

    def note(self, target: str, releases: int) -> None:
        """It is looked at now: it had been released so often."""
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[target] = releases

    def hold_for_undo(self, cursor: Cursor, execution: int, targets: Collection[str]) -> bool:
        """Hold all of them, or none; returns whether it does."""
        held = cursor.execute(_HOLD, (execution, sorted(targets))).fetchall()
        for target, releases in held:
            self.note(target, releases)
        if set(targets) - {row[0] for row in held}:
            self.let_go(cursor, execution)
            return False
        return True

    def let_go(self, cursor: Cursor, execution: int) -> None:
        """Nothing was changed."""
        cursor.execute(_LET_GO, (execution,))

    def release(self, cursor: Cursor, execution: int) -> None:
        """What this replica holds may have been changed."""
        cursor.execute(_RELEASE_MINE, (execution,))
