"""Whose a row is, in SQL: the sessions of a replica know its number, which is never used twice."""

from __future__ import annotations

SETTING = "keptn_remedy.replica"
AS_REPLICA = f"SELECT set_config('{SETTING}', $1, $2)"
ME = f"nullif(current_setting('{SETTING}', true), '')::bigint"
FREED = 0
"""Nobody's any more: whoever writes must have claimed it first."""
IS_MINE = f"coalesce(owner, {ME}, -1) = coalesce({ME}, -1)"
"""Nobody else's: each change asks that in its first statement."""
MINE_OR_FREE = f"coalesce(owner, {FREED}) IN ({FREED}, {ME})"
