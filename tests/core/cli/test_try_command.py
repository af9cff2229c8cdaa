"""`remedy try`: what it changes, prints and logs."""

import json
from pathlib import Path

import orjson
import pytest

from keptn_remedy import Context, Plan, TemporaryError
from keptn_remedy.cli import try_command
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import registry_of, triggered
from tests.commands import remedy
from tests.core.cli.folders import BUILT_IN, LEAKY, ONE_SECRET, default_variant
from tests.providing import Dial


def test_trying_an_action_changes_nothing(tmp_path: Path, flags: Path) -> None:
    before = flags.read_bytes()
    said = remedy(
        tmp_path, "try", "toggle-feature", "--value", '{"Campaign": "off"}', FLAGD_FILE=str(flags)
    )
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("succeeded/warning: dry run: ")
    assert flags.read_bytes() == before


def test_applying_a_tried_action_changes_what_it_said(tmp_path: Path, flags: Path) -> None:
    arguments = ("try", "ToggleFeature", "--value", '{"Campaign": "off"}', "--apply", "--json")
    said = remedy(tmp_path, *arguments, FLAGD_FILE=str(flags))
    assert said.code == 0
    assert json.loads(said.out)["result"] == "pass"
    assert default_variant(flags) == "off"


def test_a_tried_action_that_fails_tells_why_once(tmp_path: Path, flags: Path) -> None:
    said = remedy(
        tmp_path, "try", "toggle-feature", "--value", '{"Nope": "off"}', FLAGD_FILE=str(flags)
    )
    assert (said.code, said.err) == (1, "")
    assert said.out.startswith("errored/fail: there is no flag Nope")


def test_a_value_that_is_no_json_is_wrong_usage(tmp_path: Path, flags: Path) -> None:
    said = remedy(tmp_path, "try", "toggle-feature", "--value", "off", FLAGD_FILE=str(flags))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("remedy: --value is not JSON")


def test_an_action_that_is_off_or_unknown_can_not_be_tried(tmp_path: Path) -> None:
    off = remedy(tmp_path, "try", "toggle-feature")
    unknown = remedy(tmp_path, "try", "nope")
    misspelt = remedy(tmp_path, "try", "rolback")
    assert (off.code, unknown.code, misspelt.code) == (1, 1, 1)
    assert misspelt.mistakes == ["remedy: there is no action 'rolback'; did you mean rollback?"]
    assert off.mistakes[0].startswith("remedy: the action toggle-feature is off: set UNLEASH_URL")
    assert unknown.mistakes == [f"remedy: there is no action 'nope'; the actions are {BUILT_IN}"]


TASKS = """
from keptn_remedy import Action, Outcome

class GetSli(Action):
    task = "get-sli"
    Value = dict

    async def run(self, context, value):
        return Outcome.passed(f"asked for {value['indicators']}", indicatorValues=[1.5])

class Notify(Action):
    name = "notify"
    subscriptions = ("sh.keptn.event.*.remediation.finished",)
    Value = dict

    async def run(self, context, value):
        return Outcome.passed(f"told {value['stage']} {value['result']}")
"""


def test_tasks_and_subscribers_are_tried_and_listed_too(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    at = {"REMEDY_ACTIONS_DIR": str(tmp_path)}
    task = remedy(
        tmp_path, "try", "get-sli", "--value", '{"indicators": ["a"]}', "--apply", "--json", **at
    )
    told = remedy(tmp_path, "try", "notify", "--value", '{"result": "pass"}', "--apply", **at)
    wrong = remedy(tmp_path, "try", "notify", "--value", "3", **at)
    assert json.loads(task.out)["details"] == {"indicatorValues": [1.5]}
    assert told.out.startswith("succeeded/pass: told ")
    assert wrong.code == 2
    found = json.loads(remedy(tmp_path, "actions", "--json", **at).out)
    tasks = {each["name"]: (each["task"], each["subscriptions"]) for each in found}
    assert tasks["get-sli"] == ("get-sli", [])
    assert tasks["notify"] == (None, ["sh.keptn.event.*.remediation.finished"])
    assert tasks["scale"] == ("action", [])


def test_what_goes_wrong_in_a_try_is_logged_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    said = remedy(
        tmp_path, "try", "leaky", "--apply", REMEDY_ACTIONS_DIR=".", LEAKY_TOKEN=ONE_SECRET
    )
    assert said.code == 1
    assert said.out.startswith("errored/fail: unexpected ")
    assert "Traceback" in said.err
    assert ONE_SECRET not in said.out + said.err


def test_a_try_that_is_interrupted_cleans_up(tmp_path: Path) -> None:
    (tmp_path / "itself.py").write_text(INTERRUPTS_ITSELF)
    variables = {"REMEDY_ACTIONS_DIR": ".", "TMPDIR": str(tmp_path)}
    said = remedy(tmp_path, "try", "itself", "--apply", **variables)
    assert (said.code, said.out, said.err) == (130, "", "")
    assert not list(tmp_path.glob("keptn-remedy-*"))


INTERRUPTS_ITSELF = """
import asyncio, os, signal
from keptn_remedy import Action

class Itself(Action):
    name = "itself"

    async def run(self, context, value):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
"""


async def test_a_dry_run_that_finds_no_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Dial):
        async def plan(self, context: Context, value: int) -> Plan:
            raise TemporaryError("later")

    monkeypatch.setattr(try_command, "DRY_RUN_SECONDS", 0.1)
    trigger = stored_trigger(orjson.dumps(triggered("dial", 1)))
    outcome = await try_command._run(registry_of(Endless), trigger, dry_run=True)
    assert outcome.message == "no plan within 0.1 s; a running service would keep trying"
