"""`remedy policy`: what it checks, and how it explains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keptn_remedy.cli import policy_commands, terminal
from keptn_remedy.guardrails.policy import json_schema
from tests.commands import REMEDY, SECONDS, clean, remedy

GREETINGS = """
from keptn_remedy import Action, Outcome

class Greet(Action):
    name = "greet"
    aliases = ("say-hello",)

    async def run(self, context, value):
        return Outcome.passed("hello")
"""
EXAMPLE = Path(__file__).parents[3] / "examples" / "policy.yaml"


def test_a_good_policy_is_explained(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "check", EXAMPLE)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{EXAMPLE} is valid. ")
    assert "\n4. scaling: action scale\n  - it never scales up beyond 20 replicas, " in said.out


def test_people_get_no_line_that_is_wider_than_their_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    policy_commands.check(EXAMPLE, as_json=False)
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) > 30
    assert max(map(len, lines)) <= 60


def test_the_mistakes_of_a_bad_policy_are_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nrules:\n- {name: a, mod: act}\n")
    said = remedy(tmp_path, "policy", "check", "bad.yaml")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [
        "remedy: bad.yaml: line 3: rule 'a': there is no 'mod'; did you mean mode?"
    ]


def test_a_policy_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "check", "nowhere.yaml", "--json")
    assert (said.code, said.out) == (2, "")
    error = "can't read the policy: nowhere.yaml: No such file or directory"
    assert json.loads(said.err) == {"error": error}


def test_what_is_not_text_is_a_bad_policy(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    said = remedy(tmp_path, "policy", "check", "bad.yaml")
    assert (said.code, said.mistakes) == (1, ["remedy: bad.yaml is not UTF-8 text"])


def test_programs_are_told_in_json(tmp_path: Path) -> None:
    said = json.loads(remedy(tmp_path, "policy", "check", EXAMPLE, "--json").out)
    assert (said["good"], said["mistakes"], said["notes"]) == (True, [], [])
    assert said["explained"][2] == {
        "rule": "flags",
        "applies_to": "action toggle-feature",
        "holds": ["at most 5 targets in one execution", "it is undone when the problem closes"],
    }


def test_programs_are_told_mistakes_in_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 2")
    said = remedy(tmp_path, "policy", "check", "bad.yaml", "--json")
    assert said.code == 1
    mistake = "bad.yaml: line 1: version: must be 1; it says '2'"
    expected = {"good": False, "mistakes": [mistake], "notes": [], "explained": []}
    assert json.loads(said.out) == expected
    assert json.loads(said.err) == {"error": mistake}


def about(folder: Path, actions: str) -> str:
    """The name of a file with a policy about these actions."""
    rule = f"{{name: a, match: {{action: [{actions}]}}, settle: 1}}"
    (folder / "policy.yaml").write_text(f"version: 1\nrules:\n- {rule}")
    return "policy.yaml"


def test_an_action_that_nobody_has_is_noted(tmp_path: Path) -> None:
    policy = about(tmp_path, "Scaling, 'purge*', ToggleFeature, Purify")
    said = remedy(tmp_path, "policy", "check", policy)
    note = (
        "rule 'a' names the action 'Purify', which neither an installed package nor"
        " REMEDY_ACTIONS_DIR provides: that name matches nothing"
    )
    assert (said.code, said.mistakes) == (0, [f"remedy: note: {note}"])
    said = remedy(tmp_path, "policy", "check", policy, "--json")
    assert json.loads(said.out)["notes"] == [note]


def test_an_action_with_a_similar_name_is_proposed(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "check", about(tmp_path, "togle-feature"))
    (note,) = said.mistakes
    assert note.endswith("that name matches nothing; did you mean toggle-feature?")


def test_a_blackout_that_is_over_is_noted(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "version: 1\nrules:\n- name: holidays\n  blackouts:\n"
        "  - {from: 2099-12-24, to: 2099-12-26}\n"
        "  - {from: 2019-12-24, to: 2019-12-26, reason: Christmas, timezone: Europe/Berlin}\n"
    )
    said = remedy(tmp_path, "policy", "check", "policy.yaml")
    (note,) = said.mistakes
    assert said.code == 0
    assert note == (
        "remedy: note: rule 'holidays', blackouts 2: Tue 2019-12-24 00:00 Europe/Berlin to"
        " Fri 2019-12-27 00:00 Europe/Berlin (Christmas) is over; it refuses nothing"
    )


def test_a_channel_that_there_is_not_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    entry = "{type: slack, url_file: /run/secrets/slack}"
    Path("channels.yaml").write_text(f"version: 1\nchannels:\n  slack: {entry}\n")
    Path("policy.yaml").write_text("version: 1\nrules: [{name: a, notify: [slak]}]")
    assert policy_commands.check(Path("policy.yaml"), as_json=False) == 0
    assert "slak'" not in capsys.readouterr().err  # what there is, is not known here
    monkeypatch.setenv("REMEDY_CHANNELS", "channels.yaml")
    assert policy_commands.check(Path("policy.yaml"), as_json=False) == 0
    said = "rule 'a', notify: there is no channel 'slak' in REMEDY_CHANNELS; did you mean slack?"
    assert f"remedy: note: {said}" in capsys.readouterr().err


def test_the_names_of_actions_of_ones_own_are_known(tmp_path: Path) -> None:
    (tmp_path / "greetings").mkdir()
    (tmp_path / "greetings" / "greetings.py").write_text(GREETINGS)
    policy = about(tmp_path, "Greet, say_hello, scale, wave")
    said = remedy(tmp_path, "policy", "check", policy, REMEDY_ACTIONS_DIR="greetings")
    assert said.code == 0
    (note,) = said.mistakes
    assert "the action 'wave'" in note


def test_actions_that_can_not_be_loaded_are_noted(tmp_path: Path) -> None:
    policy = about(tmp_path, "wave")
    said = remedy(tmp_path, "policy", "check", policy, REMEDY_ACTIONS_DIR="nowhere")
    assert said.code == 0
    (note,) = said.mistakes
    assert note.startswith("remedy: note: the rules' action names are unchecked")
    assert "REMEDY_ACTIONS_DIR: nowhere is not a folder" in note


def test_what_steers_terminals_is_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('version: 1\nrules:\n- {name: a, match: {stage: "\\e[2J"}, mode: act}')
    said = remedy(tmp_path, "policy", "check", path)
    assert said.code == 0
    assert "\x1b" not in said.out


def test_the_schema_is_printed(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "schema")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == json.loads(json.dumps(json_schema()))


def test_checking_a_policy_does_not_wait_for_the_network_libraries(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", REMEDY, "policy", "check", EXAMPLE],
        env=clean(tmp_path, {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.split("\n")}
    assert "keptn_remedy.guardrails.policy" in imported
    assert not imported & {"aiohttp", "kubernetes"}
