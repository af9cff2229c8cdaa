"""One trigger's action run without Keptn, with a journal that is thrown away."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from keptn_remedy.action import Outcome
from keptn_remedy.client import lent_session
from keptn_remedy.clock import Clock
from keptn_remedy.events import ActionTriggered, Replies
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.masking import Mask
from keptn_remedy.means import Means
from keptn_remedy.metrics import Metrics
from keptn_remedy.registry import Registry
from keptn_remedy.rests import Rests
from keptn_remedy.runner import Runner
from keptn_remedy.service.wiring import installed_version, secrets_in
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.targets import Targets


async def run_once(
    actions: Registry,
    event: ActionTriggered,
    *,
    dry_run: bool,
    clock: Clock | None = None,
    replicas: ReplicaSettings | None = None,
) -> Outcome:
    """Run one trigger's action without Keptn, under the built-in rules.

    Raises:
        LookupError: no switched-on action has that name.
    """
    entry = actions.find(event.action)
    if entry is None:
        raise LookupError(f"no action {event.action!r} is switched on")
    clock = clock or Clock()
    with TemporaryDirectory(prefix="keptn-remedy-") as folder:
        journal = SqliteJournal.open(Path(folder) / "journal.db", now=clock.now)
        try:
            async with lent_session() as http:
                means = Means(
                    journal=journal,
                    http=http,
                    metrics=Metrics(installed_version()),
                    clock=clock,
                    mask=Mask(secrets_in(actions, KeptnSettings())),
                    targets=Targets(),
                    guard=Guard.built_in(journal, clock, replicas or ReplicaSettings()),
                    rests=Rests(),
                    dry_run=dry_run,
                )
                runner = Runner(means, actions, Replies("keptn-remedy"), tell=lambda unsent: None)
                execution = await journal.accept(event, entry.name)
                if execution is None:
                    raise LookupError("an empty journal knows the trigger")
                return await runner.run(execution)
        finally:
            await journal.close()
