"""`remedy serve --demo`: the problem that is played, and what it never touches."""

from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from keptn_remedy.cli import story
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.commands import local_provider
from tests.core.cli.folders import LEAKY, ONE_SECRET, default_variant, look
from tests.ordering import TARGET, ended


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_demonstration_plays_to_its_end_again_and_again(tmp_path: Path, number: Signals) -> None:
    for _ in range(2):
        with local_provider(tmp_path, "--demo") as running:
            assert default_variant(tmp_path / "var/flags.json") == "off"
            left = running.stop(number)
        finished = [line for line in running.log if line["message"] == "execution finished"]
        assert [line["result"] for line in finished] == ["pass"]
        assert (left.code, left.err) == (0, "")
    assert len(look(tmp_path, "list", "--json").splitlines()) == 2


def test_a_demonstration_that_is_not_accepted_is_told_and_the_provider_serves(
    tmp_path: Path,
) -> None:
    (tmp_path / "other.py").write_text(LEAKY.replace("leaky", "other"))
    variables = {"REMEDY_ACTIONS": "other", "REMEDY_ACTIONS_DIR": ".", "OTHER_TOKEN": "x"}
    with local_provider(tmp_path, "--demo", **variables) as running:
        (failure,) = (line for line in running.log if line["logLevel"] == "WARNING")
        assert running.stop().code == 0
    assert failure["message"] == "the demonstration failed"
    assert "the action toggle-feature is off: not named in REMEDY_ACTIONS" in failure["reason"]


def test_a_flag_file_that_is_none_is_left_alone_and_told(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text("[")
    with local_provider(tmp_path, "--demo", FLAGD_FILE="flags.json") as running:
        assert running.stop().code == 0
    reasons = [line["reason"] for line in running.log if line["logLevel"] == "WARNING"]
    assert reasons == ["flags.json is not a flagd file; remove it: the next start creates one"]
    assert flags.read_text() == "["


def test_a_demonstration_never_touches_a_real_unleash(tmp_path: Path) -> None:
    unleash = {"UNLEASH_URL": "http://127.0.0.1:9/", "UNLEASH_API_TOKEN": ONE_SECRET}
    with local_provider(tmp_path, "--demo", **unleash) as running:
        finished = next(line for line in running.log if line["message"] == "execution finished")
    assert finished["outcome"].startswith("PromotionCampaign off in var/flags.json (flagd)")


def test_a_demonstration_never_touches_a_real_cluster(tmp_path: Path) -> None:
    cluster = {"KUBECONFIG": "production", "KUBERNETES_SERVICE_HOST": "::1"}
    with local_provider(tmp_path, "--demo", **cluster) as running:
        off = {line["action"] for line in running.log if line["message"] == "action is off"}
    assert {"scale", "rollback", "restart"} <= off


def test_a_tour_shows_a_refusal_and_an_undo(tmp_path: Path) -> None:
    with local_provider(tmp_path, "--demo", "--tour") as running:
        assert default_variant(tmp_path / "var/flags.json") == "on"  # undone
        running.stop()
    refused, played = look(tmp_path, "list", "--json").splitlines()
    assert "paused by the tour" in refused
    assert '"undone":"done"' in played


async def test_the_story_has_each_step(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await ended(journal)
    record = await journal.record(execution.id)
    assert record
    told = story.of(record, ReplicaSettings().rules(None))
    titles = [line[2:15].strip() for line in told if line[2] != " "]
    assert titles == [
        "Problem",
        "Keptn asks",
        "Plan",
        "Rails asked",
        "Applied",
        "Verified",
        "Answered",
    ]
    assert max(map(len, told)) <= 80
    assert f"{TARGET} replicas: 1 -> 2" in "\n".join(told)
