"""What an action keeps in the journal, in values and keys that are not too long."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from keptn_remedy.action import PermanentError
from keptn_remedy.events.bounds import shortened
from keptn_remedy.journal import Execution, Memories

MAX_KEY_CHARACTERS: Final = 1_024
MAX_VALUE_KIB: Final = 64
MAX_KEYS: Final = 10_000


class ActionMemory(NamedTuple):
    """The memory of an action, in the journal, as one of its executions uses it."""

    journal: Memories
    execution: Execution

    async def get(self, key: str) -> Any:
        return await self.journal.recall(self.execution.action, key)

    async def put(self, key: str, value: Any) -> None:
        if len(key) > MAX_KEY_CHARACTERS:
            raise PermanentError(
                f"a key of memory has {len(key):,} characters, and may have "
                f"{MAX_KEY_CHARACTERS:,}: {shortened(key, 100)}"
            )
        if (size := len(orjson.dumps(value)) / 1024) > MAX_VALUE_KIB:
            raise PermanentError(
                f"the memory of {shortened(key, 100)} takes {size:,.0f} KiB as JSON, and may take "
                f"{MAX_VALUE_KIB}"
            )
        action = self.execution.action
        writer = self.execution if self.execution.handle else None  # a preview is not stored
        if value is None:
            await self.journal.remember(action, key, None, by=writer)
        elif not await self.journal.remember_within(MAX_KEYS, action, key, value, by=writer):
            raise PermanentError(
                f"the memory of the action holds {MAX_KEYS:,} keys, and may hold no other: it must "
                f"delete some by None before {shortened(key, 100)}"
            )
