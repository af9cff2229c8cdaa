"""The commands of standalone mode, on files and on the journal of a service that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from keptn_remedy.cli import terminal
from keptn_remedy.cli.commands import app
from keptn_remedy.cli.episode_commands import completed
from tests.standalone.rig import SECRET, Switch, standalone

EXAMPLES = Path(__file__).parents[2] / "examples"
CRITERION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - {action: switch, evaluation: {promql: {query: QUERY, want: "< 5"}}}
"""


def run(*words: str, **variables: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, words, env=variables)
    return result.exit_code, result.stdout, result.stderr


async def later(*words: str, **variables: str) -> tuple[int, str, str]:
    """The same in a thread, as a command has an event loop of its own."""
    return await asyncio.to_thread(run, *words, **variables)


def offered(incomplete: str, variables: dict[str, str]) -> list[str]:
    """The ids that a shell offers, with these variables."""
    with CliRunner(env=variables).isolation():
        return completed(incomplete)


def test_sources_check_says_what_the_files_mean(tmp_path: Path) -> None:
    place = tmp_path / "sockshop"
    place.mkdir()
    (place / "remediation.yaml").write_text(CRITERION.replace("QUERY", "errors"))
    code, said, _ = run(
        "sources", "check", str(EXAMPLES / "sources.yaml"), "--remediations", str(tmp_path)
    )
    assert code == 0
    assert "alerts: alertmanager posts to /intake/alerts" in said
    assert "It may name projects sockshop, stages production and services *." in said
    assert "//alertmanager-1.alertmanager:9093/ are asked." in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (None, "can't be read: there is no such file"),
        (" \n", "is empty"),
        ("short", "must hold 16 to 4096 characters"),
        (SECRET, ""),
    ],
)
def test_sources_check_notes_a_secret_that_is_not_usable_here(
    tmp_path: Path, secret: str | None, why: str
) -> None:
    sources, file = tmp_path / "sources.yaml", tmp_path / "secret"
    text = (EXAMPLES / "sources.yaml").read_text()
    sources.write_text(text.replace("/etc/remedy/alerts-secret", str(file)))
    if secret is not None:
        file.write_text(secret)
    code, said, told = run("sources", "check", str(sources))
    says = f"source alerts: here {file} {why}; without a secret the service does not start"
    note = f"remedy: note: {says}\n"
    assert (code, "is valid." in said, told) == (0, True, note if why else "")
    code, said, _ = run("sources", "check", str(sources), "--json")
    assert len(orjson.loads(said)["notes"]) == bool(why)


def test_sources_check_tells_of_actions_that_are_not_installed(tmp_path: Path) -> None:
    wrong = CRITERION.replace("action: switch,", "action: togle-feature,")
    (tmp_path / "remediation.yaml").write_text(wrong.replace("QUERY", "errors"))
    sources = str(EXAMPLES / "sources.yaml")
    code, _, told = run("sources", "check", sources, "--remediations", str(tmp_path))
    assert code == 0
    assert "there is no action 'togle-feature'; did you mean toggle-feature?" in told


RULES = """
groups:
  - name: shop
    rules:
      - {alert: TooManyErrors, expr: errors > 5}
      - {alert: Gone, expr: "absent(up{job='carts'})", annotations: {summary: it is gone}}
      - {alert: Slow, expr: latency > 1}
      - {record: total, expr: sum(errors)}
"""
REMEDIES = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErors
      actionsOnOpen: [{action: switch}]
    - problemType: it is gone
      actionsOnOpen: [{action: switch}]
    - problemType: TooManyErrors
      actionsOnOpen: [{action: switch, evaluation: {slo: {}}}]
"""


def test_sources_check_compares_remedies_with_rules_and_objectives(tmp_path: Path) -> None:
    place = tmp_path / "remediations/sockshop/production/carts"
    place.mkdir(parents=True)
    (place / "remediation.yaml").write_text(REMEDIES)
    (tmp_path / "rules.yaml").write_text(RULES)
    remediations = str(tmp_path / "remediations")
    words = ("sources", "check", str(EXAMPLES / "sources.yaml"), "--remediations", remediations)
    _, _, said = run(*words, "--rules", str(tmp_path / "rules.yaml"))
    assert "the rule of Gone compares no one number: evaluation needs alert:" in said
    assert "there is no slo.yaml for sockshop/production/carts" in said

    (place / "slo.yaml").write_text("objectives: [{sli: errs}, {sli: ok}]")
    (place / "prometheus").mkdir()
    (place / "prometheus/sli.yaml").write_text("indicators: {ok: sum(x) or vector(0)}")
    _, _, said = run(*words)
    assert "no sli.yaml has an indicator errs" in said
    (place / "slo.yaml").write_text("objectives: [{sli: ok}]")
    evidence = REMEDIES.replace(
        "gone\n      actionsOnOpen: [{action: switch}",
        "gone\n      actionsOnOpen: [{action: switch, evaluation: {alert: {evidence: up}}}",
    )
    (place / "remediation.yaml").write_text(evidence)
    code, _, said = run(*words, "--rules", str(tmp_path))
    assert code == 0
    assert "no rule has an alert that is called 'TooManyErors'; did you mean TooManyErrors?" in said
    assert "this alert has no remedy: Slow" in said
    assert "ok: or vector(…) turns missing data into a number" in said


def test_sources_check_reads_the_times_of_shipyard_yaml(tmp_path: Path) -> None:
    (tmp_path / "sockshop").mkdir()
    (tmp_path / "sockshop/shipyard.yaml").write_text(
        "spec: {stages: [{name: dev, sequences: [{name: remediation, tasks:"
        " [{name: evaluation, triggeredAfter: soon}]}]}]}"
    )
    words = ("sources", "check", str(EXAMPLES / "sources.yaml"), "--remediations", str(tmp_path))
    code, _, said = run(*words)
    assert code == 1
    assert "sockshop/shipyard.yaml: triggeredAfter of evaluation must be a duration" in said


def test_the_criterion_alert_needs_a_source_with_rules(tmp_path: Path) -> None:
    (tmp_path / "remediation.yaml").write_text(REMEDIES.replace(", evaluation: {slo: {}}", ""))
    text = (EXAMPLES / "sources.yaml").read_text()
    begin, end = text.index("    alertmanagers:"), text.index("prometheus:")
    grafana = text[:begin].replace("kind: alertmanager", "kind: grafana") + "    confirm: off\n"
    (tmp_path / "sources.yaml").write_text(grafana + text[end:])
    words = ("sources", "check", str(tmp_path / "sources.yaml"), "--remediations", str(tmp_path))
    code, _, said = run(*words)
    assert code == 1
    assert "no source has alerts of Prometheus: evaluation needs promql or slo" in said


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("QUERY", '"errors > bool 1"', "bool turns NaN into 0"),
        ("QUERY", '"sum(errors) or vector(0)"', "or vector(…) turns missing data into a number"),
        ("QUERY", '"vector(1)"', "'vector(1)' measures nothing"),
        ("promql:", "promq:", "there is no 'promq'; did you mean promql?"),
        ('"< 5"', '"less"', "want must be a comparison, such as '< 0.01'"),
        ("0.1.4", "0.2.0", "apiVersion must be spec.keptn.sh/0.1.4"),
        ("action: switch,", "", "action is missing"),
    ],
)
def test_sources_check_refuses_what_no_judge_can_use(
    tmp_path: Path, old: str, new: str, mistake: str
) -> None:
    (tmp_path / "remediation.yaml").write_text(
        CRITERION.replace(old, new).replace("QUERY", "errors")
    )
    sources = str(EXAMPLES / "sources.yaml")
    code, _, told = run("sources", "check", sources, "--remediations", str(tmp_path))
    assert code == 1
    assert mistake in told


async def test_people_see_episodes_their_tries_and_what_was_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standalone(tmp_path) as rig:
        await rig.send(rig.world.fire("f1"), rig.world.fire("f2", team="bank"))
        await rig.until_state("escalated", step=5)
    journal = str(tmp_path / "journal.db")
    _, listed, _ = await later("episodes", "list", REMEDY_JOURNAL=journal)
    assert "too many errors" in listed
    assert "no remedy is left" in listed
    [episode_id] = {word for word in listed.split() if word.count("-") == 4}
    code, shown, _ = await later("episodes", "show", episode_id[:8], REMEDY_JOURNAL=journal)
    assert code == 0
    assert "verdict     failed: the alert TooManyErrors is firing" in shown
    assert "it began: too many errors" in shown
    code, shown, _ = await later("episodes", "show", episode_id, "--json", REMEDY_JOURNAL=journal)
    assert [each["verdict"] for each in orjson.loads(shown)["tries"]] == ["failed", "failed"]
    assert (await later("episodes", "show", "nobody", REMEDY_JOURNAL=journal))[0] == 1
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    narrow = {"REMEDY_JOURNAL": journal, "COLUMNS": "60"}
    _, folded, _ = await later("episodes", "show", episode_id, **narrow)
    history = folded[folded.index("it began") :].splitlines()
    rest = [line for line in history[1:] if line.startswith(" ")]
    # What goes on in a second line stands below where it began: "12:00:00  escalated  ".
    assert rest
    assert {len(line) - len(line.lstrip()) for line in rest} == {21}
    monkeypatch.undo()
    _, ignored, _ = await later("episodes", "list", "--ignored", REMEDY_JOURNAL=journal)
    assert "project bank is not among those that this source may name" in ignored


async def test_a_service_tells_of_episodes_what_its_journal_does(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        await rig.send(rig.world.fire("f1"), rig.world.fire("f2", team="bank"))
        await rig.until_state("escalated", step=5)
        asked = {
            "REMEDY_SERVER": f"http://127.0.0.1:{rig.service.ops_port}",
            "REMEDY_JOURNAL": str(tmp_path / "nowhere.db"),
        }
        journal = {"REMEDY_JOURNAL": str(tmp_path / "journal.db")}
        _, listed, _ = await later("episodes", "list", **asked)
        [episode_id] = {word for word in listed.split() if word.count("-") == 4}
        for words in (
            ("list", "--open"),
            ("list", "--json"),
            ("list", "--ignored"),
            ("show", episode_id[:8]),
            ("show", episode_id, "--json"),
        ):
            told = await later("episodes", *words, **asked)
            assert told == await later("episodes", *words, **journal)
            assert (told[0], told[2]) == (0, "")
            assert told[1]
        assert await later("score", "--json", "--days", "3650", **asked) == await later(
            "score", "--json", "--days", "3650", **journal
        )
        assert await asyncio.to_thread(offered, episode_id[:4], asked) == [episode_id]
        for name in ("nobody", "..", "a/b"):
            code, _, told_of = await later("episodes", "show", name, **asked)
            assert (code, f"begins with {name!r}" in told_of) == (1, True)


async def test_a_dry_run_climbs_on_paper_and_is_counted_apart(tmp_path: Path) -> None:
    trial = "version: 1\nrules: [{name: trial, mode: dry-run}]\n"
    async with standalone(tmp_path, policy=trial) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)
        await rig.until_state("closed", step=10)
        assert (Switch.applied, rig.world.posted) == ([], [])
    journal = str(tmp_path / "journal.db")
    _, told, _ = await later("score", "--json", "--days", "3650", REMEDY_JOURNAL=journal)
    [score] = orjson.loads(told)
    assert (score["service"], score["action"]) == ("carts", "switch")
    assert (score["acted"], score["would_have_acted"], score["gone"]) == (0, 1, 1)


async def test_the_judge_shows_what_it_says_and_why(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        file = tmp_path / "remediation.yaml"
        file.write_text(CRITERION.replace("QUERY", "errors"))
        sources = {"REMEDY_SOURCES": str(tmp_path / "sources.yaml")}
        code, said, _ = await later("judge", str(file), **sources)
        assert (code, said) == (0, "TooManyErrors, switch (promql): good: 0 is < 5\n")
        rig.world.series["errors"] = "NaN"
        code, said, _ = await later("judge", str(file), **sources)
        assert (code, said.partition("): ")[2]) == (1, "can't tell: no data: the answer is nan\n")
        code, _, told = await later("judge", str(file), "--at", "2999-01-01", **sources)
        assert (code, "in the future" in told) == (2, True)


def test_what_the_judge_cannot_use_is_named_with_its_file(tmp_path: Path) -> None:
    file, sources = tmp_path / "remediation.yaml", tmp_path / "sources.yaml"
    variables = {"REMEDY_SOURCES": str(sources)}
    sources.write_text("version: 1\nsource: {}\n")
    code, _, told = run("judge", str(file), **variables)
    assert (code, f"{sources}: line 2: there is no 'source'" in told) == (2, True)
    sources.write_text((EXAMPLES / "sources.yaml").read_text())
    file.write_text("apiVersion: v1")
    code, _, told = run("judge", str(file), **variables)
    assert (code, f"{file}: apiVersion must be" in told) == (2, True)
    nothing = CRITERION[: CRITERION.index("      actionsOnOpen")]
    file.write_text(nothing)
    code, _, told = run("judge", str(file), **variables)
    assert (code, f"{file} has no action that could be judged" in told) == (2, True)
