"""The policy in force: its file is read again when it changes; an invalid one is rejected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.journal import Memories
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES

SHA256_SHOWN = 12
# The last valid policy is in the journal's memory, under a name that no action can have.
_OWNER, _KEY = "", "policy"


class _Found(NamedTuple):
    """The file's text, or None and why it can't be read."""

    text: str | None
    why: str = ""


class PolicyFile:
    """The rules in force. `problem` says why the file was rejected; None: its rules are in force.

    `policy` is what they were made of. `make` makes the rules of a policy, or of None. `in_force`
    are log fields that identify the policy in force.
    """

    def __init__(
        self, path: Path | None, journal: Memories, make: Callable[[Policy | None], Rules]
    ) -> None:
        self.rules = make(None)
        self.policy = Policy(version=1)
        self.problem: str | None = None
        self.in_force: dict[str, str | int | None] = {"policy": None}
        self._path = path
        self._file = MountedFile(path, MAX_BYTES + 1) if path else None
        self._journal = journal
        self._make = make
        self._seen: _Found | None = None
        self._tried: _Found | None = None

    async def begin(self) -> None:
        """Put the file's policy in force; if it is invalid, the last valid one from the journal.

        Raises:
            PolicyError: the file is invalid, and the journal has no earlier policy.
            JournalError: the earlier policy can't be read.
        """
        if self._file is None:
            return
        self._seen = self._tried = await _read(self._file)
        try:
            await self._take(self._seen)
        except PolicyError as error:
            last = await self._journal.recall(_OWNER, _KEY)
            if not isinstance(last, str):
                named = [f"{self._path}: {mistake}" for mistake in error.mistakes]
                raise PolicyError(named) from None
            await self._put_in_force(last)
            self.problem = str(error)

    async def look(self, *, at_once: bool = False) -> bool:
        """Put the file's policy in force if it changed. True: there is something new to log.

        Unless `at_once`, a change must be seen in two reads: the first may see half of it.

        Raises:
            JournalError: the policy is in force, but could not be stored for the next process.
        """
        if self._file is None:
            return False
        found = await _read(self._file)
        is_half_seen, self._seen = found != self._seen and not at_once, found
        if is_half_seen or (found == self._tried and not at_once):
            return False
        try:
            await self._take(found)
        except PolicyError as error:
            self._tried = found
            is_news, self.problem = self.problem != str(error), str(error)
            return is_news
        self._tried, self.problem = found, None
        return True

    async def _take(self, found: _Found) -> None:
        if found.text is None:
            raise PolicyError([found.why])
        await self._put_in_force(found.text)
        await self._journal.remember(_OWNER, _KEY, found.text)

    async def _put_in_force(self, text: str) -> None:
        # In a thread: a long file takes seconds.
        self.policy, self.rules = await asyncio.to_thread(self._made, text)
        self.in_force = {
            "policy": str(self._path),
            "policy_rules": len(self.policy.rules),
            "policy_sha256": sha256(text.encode()).hexdigest()[:SHA256_SHOWN],
        }

    def _made(self, text: str) -> tuple[Policy, Rules]:
        policy = Policy.load(text)
        return policy, self._make(policy)


async def _read(file: MountedFile) -> _Found:
    try:
        return _Found((await file.read()).text)
    except (OSError, UnicodeDecodeError) as error:
        return _Found(None, f"it can't be read: {why_unreadable(error)}")
