"""What `/readyz` answers: whether the service can do its work, and what needs a look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.guardrails.rails import paused_words
from keptn_remedy.journal import Journal, JournalError
from keptn_remedy.keptn.transports import Transport
from keptn_remedy.keptn.uniform import Uniform
from keptn_remedy.ops import models
from keptn_remedy.registry import Broken


class Readiness:
    """Ready means: started, not leaving, and able to store events and reports.

    Keptn and the back ends are not asked. Reports that Keptn can't take now are stored, and their
    age is a metric of its own. `troubles` are those of parts that only some services have.
    """

    def __init__(
        self,
        journal: Journal,
        policy: PolicyFile,
        pauses: Pauses,
        transport: Transport,
        broken: tuple[Broken, ...] = (),
        uniform: Uniform | None = None,
        unnotified: Callable[[], Sequence[str]] = tuple,
        troubles: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.starting = True
        self.leaving = False
        self._journal = journal
        self._policy = policy
        self._pauses = pauses
        self._broken = broken
        self._transport = transport
        self._uniform = uniform
        self._unnotified = unnotified
        self._troubles = troubles

    def note_started(self) -> None:
        """What the last process left is taken over."""
        self.starting = False

    def note_leaving(self) -> None:
        """The process is going to end."""
        self.leaving = True

    async def look(self) -> models.Readiness:
        """Why the service isn't ready, if it isn't; and why it is degraded, if it is."""
        reasons: list[str] = []
        # The ops port opens before the event port, to show how the start proceeds.
        if self.starting:
            reasons.append("starting")
        if self.leaving:
            reasons.append("leaving")
        if failure := self._journal.failure:
            reasons.append(f"the journal can't be written: {failure}")
        degraded = [f"an action can't be used: {broken}" for broken in self._broken]
        try:
            backlog = await self._journal.backlog()
        except JournalError as error:
            reasons.append(f"the journal can't be read: {error}")
        else:
            if backlog.blocked:
                why = f"{backlog.blocked}: {backlog.blocked_because}"
                degraded.append(f"reports that can't get to Keptn, tried every 30 s: {why}")
            if backlog.parked:
                degraded.append(f"reports that Keptn rejected: {backlog.parked}")
        if trouble := self._transport.trouble:
            degraded.append(f"the way to Keptn: {trouble}")
        if self._uniform and (trouble := self._uniform.trouble):
            degraded.append(f"Keptn's uniform: {trouble}")
        degraded += [f"a channel takes no notifications: {why}" for why in self._unnotified()]
        degraded += self._troubles()
        if problem := self._policy.problem:
            degraded.append(f"the policy was rejected, an earlier one stays in force: {problem}")
        if pause := self._pauses.current:
            degraded.append(paused_words(pause))
        return models.Readiness(ready=not reasons, reasons=reasons, degraded=degraded)
