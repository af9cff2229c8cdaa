"""What the distributor lost, through the whole provider."""

from pathlib import Path

from keptn_remedy.service import running
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.core.keptn.test_missed_triggers import begin
from tests.providing import Greet, provider, settings


async def test_a_trigger_that_was_never_delivered_is_carried_out(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        lost = triggered("greet", {"name": "Ada"})
        keptn.open(lost)
        async with provider(tmp_path / "journal.db", keptn, Greet):
            await keptn.task_finished(lost["id"])
        assert len(keptn.started(lost["id"])) == 1
        assert keptn.finished(lost["id"])[0].data["result"] == "pass"


async def test_what_a_lost_journal_had_begun_is_answered(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        begun = triggered("greet", {"name": "Ada"})
        keptn.open(begun)
        await begin(keptn, begun)
        async with provider(tmp_path / "journal.db", keptn, Greet, answer_lost=True):
            await keptn.task_finished(begun["id"])
        assert keptn.finished(begun["id"])[0].data["status"] == "errored"


async def test_a_sweep_that_is_switched_off_takes_nothing_up(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        lost, begun = triggered("greet", {"name": "Ada"}), triggered("greet", {"name": "Bob"})
        keptn.open(lost)
        keptn.open(begun)
        await begin(keptn, begun)
        journal = tmp_path / "journal.db"
        async with provider(journal, keptn, Greet, sweep=False, answer_lost=True):
            await keptn.task_finished(begun["id"])
        assert not keptn.started(lost["id"])


async def test_a_sweep_takes_up_only_what_the_distributor_would_have_let_through(
    tmp_path: Path,
) -> None:
    filters = KeptnSettings(stage_filter=("staging",))
    async with FakeKeptn() as keptn:
        filtered = triggered("greet", {"name": "Ada"}, stage="production")
        lost = triggered("greet", {"name": "Bob"}, stage="staging")
        keptn.open(filtered)
        keptn.open(lost)
        config = settings(tmp_path / "journal.db", keptn)
        async with running(config, registry_of(Greet), keptn=filters):
            await keptn.task_finished(lost["id"])
        assert not keptn.started(filtered["id"])
