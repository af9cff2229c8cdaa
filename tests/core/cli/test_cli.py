"""The commands as a user meets them: what they print, where, and with which exit code."""

import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from keptn_remedy import Context, Plan, TemporaryError
from keptn_remedy.cli import acting
from keptn_remedy.cli.commands import app
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import registry_of, triggered
from tests.commands import (
    FREE_PORTS,
    REMEDY,
    SECONDS,
    LocalProvider,
    clean,
    local_provider,
    remedy,
)
from tests.providing import Dial

COMMANDS = (
    ["serve"],
    ["send"],
    ["actions"],
    ["try"],
    ["version"],
    ["pause"],
    ["resume"],
    ["approve"],
    ["deny"],
    ["undo"],
    ["journal"],
    ["journal", "list"],
    ["journal", "show"],
    ["journal", "tail"],
    ["journal", "export"],
    ["policy"],
    ["policy", "schema"],
    ["policy", "check"],
)
BUILT_IN = "restart, rollback, scale, toggle-feature"
ONE_SECRET = "correct-horse-battery"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    with local_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a demonstration was played to its end."""
    folder = tmp_path_factory.mktemp("played")
    with local_provider(folder, "--demo") as running:
        assert running.stop().code == 0
    return folder


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    path.write_bytes(orjson.dumps({"flags": {"Campaign": flag}}))
    return path


def saved(folder: Path, event: object) -> Path:
    path = folder / "event.json"
    path.write_bytes(orjson.dumps(event))
    return path


def look(folder: Path, *arguments: str) -> str:
    said = remedy(folder, "journal", *arguments, REMEDY_JOURNAL="var/local-journal.db")
    assert (said.code, said.err) == (0, "")
    return said.out


def default_variant(path: Path) -> Any:
    flag = next(iter(orjson.loads(path.read_bytes())["flags"].values()))
    return flag["defaultVariant"]


# Help and version


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help(command: list[str]) -> None:
    said = CliRunner().invoke(app, [*command, "--help"])
    assert said.exit_code == 0
    assert said.output.startswith(f"Usage: remedy {' '.join(command)}")


def test_what_is_not_there_yet_is_not_in_the_help() -> None:
    said = CliRunner().invoke(app, ["--help"])
    commands = re.findall(r"^  (\w+)  ", said.output.partition("Commands:")[2], re.MULTILINE)
    assert set(commands) == {
        "serve",
        "send",
        "actions",
        "try",
        "journal",
        "version",
        "policy",
        "pause",
        "resume",
        "approve",
        "deny",
        "undo",
    }


def test_a_command_that_does_not_exist_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["lunch"]).exit_code == 2


def test_help_does_not_wait_for_heavy_modules(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", REMEDY, "--help"],
        env=clean(tmp_path, {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")
    }
    assert "typer" in imported
    assert not imported & {"aiohttp", "kubernetes", "pydantic"}


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    number = remedy(tmp_path, "version").out.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", number)
    assert json.loads(remedy(tmp_path, "version", "--json").out) == {"version": number}


# Actions


def test_actions_are_listed_one_a_line_with_why_they_are_off(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions")
    assert said.code == 0
    assert re.search(r"^toggle-feature  off: .*FLAGD_FILE", said.out, re.MULTILINE)
    assert not any(line.endswith(" ") for line in said.out.splitlines())


def test_actions_as_json_tell_what_is_on(tmp_path: Path, flags: Path) -> None:
    said = remedy(tmp_path, "actions", "--json", FLAGD_FILE=str(flags))
    listed = {action["name"]: action for action in json.loads(said.out)}
    assert listed["toggle-feature"]["on"] is True
    assert listed["toggle-feature"]["kind"] == "planned"


@pytest.mark.parametrize("name", ["toggle-feature", "FeatureToggle"])
def test_all_about_an_action_by_name_or_alias_also_when_it_is_off(
    tmp_path: Path, name: str
) -> None:
    said = remedy(tmp_path, "actions", name)
    assert said.code == 0
    assert "off: set UNLEASH_URL" in said.out
    assert re.search(r"^UNLEASH_PROJECT +default", said.out, re.MULTILINE)
    assert json.loads(said.out.partition("schema of its value:")[2])


def test_all_about_an_action_as_json(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions", "toggle-feature", "--json")
    assert json.loads(said.out)["value_schema"]


def test_an_unknown_action_fails_and_names_those_there_are(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions", "nope")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [f"remedy: there is no action 'nope'; there are: {BUILT_IN}"]


def test_a_broken_drop_in_is_one_line_for_every_command(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    for command in (["actions"], ["try", "toggle-feature"], ["serve"]):
        said = remedy(tmp_path, *command, REMEDY_ACTIONS_DIR=".")
        assert (said.code, len(said.mistakes)) == (2, 1)
        assert "broken.py can't be loaded" in said.err


# Try


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
    assert (off.code, unknown.code) == (1, 1)
    assert off.mistakes[0].startswith("remedy: toggle-feature is off: set UNLEASH_URL")
    assert unknown.mistakes == [f"remedy: there is no action 'nope'; there are: {BUILT_IN}"]


def test_what_goes_wrong_in_a_try_is_logged_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    said = remedy(
        tmp_path, "try", "leaky", "--apply", REMEDY_ACTIONS_DIR=".", LEAKY_TOKEN=ONE_SECRET
    )
    assert said.code == 1
    assert said.out.startswith("errored/fail: unexpected ")
    assert "Traceback" in said.err
    assert ONE_SECRET not in said.out + said.err


LEAKY = """
from pydantic import SecretStr
from keptn_remedy import Action, ActionSettings

class Leaky(Action):
    name = "leaky"

    class Settings(ActionSettings):
        token: SecretStr

    async def run(self, context, value):
        raise RuntimeError(self.settings.token.get_secret_value())
"""


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


# Send


def test_an_event_is_accepted_once_and_then_a_duplicate(
    tmp_path: Path, provider: LocalProvider
) -> None:
    event = triggered("toggle-feature", {"Recommendations": "off"})
    path = saved(tmp_path, event)
    first = remedy(tmp_path, "send", path, "--to", provider.events)
    second = remedy(tmp_path, "send", path, "--to", provider.events)
    assert (first.code, first.out) == (0, f'202 {{"execution":"{event["id"]}"}}\n')
    assert (second.code, second.out) == (0, f'200 {{"duplicate":"{event["id"]}"}}\n')


def test_with_an_id_of_its_own_an_event_is_no_duplicate(
    tmp_path: Path, provider: LocalProvider
) -> None:
    path = saved(tmp_path, triggered("toggle-feature", {"Recommendations": "on"}))
    sent = [
        json.loads(
            remedy(tmp_path, "send", path, "--new-id", "--json", "--to", provider.events).out
        )
        for _ in range(2)
    ]
    assert [answer["status"] for answer in sent] == [202, 202]
    assert sent[0]["answer"] != sent[1]["answer"]


def test_the_example_event_is_accepted(tmp_path: Path, provider: LocalProvider) -> None:
    path = Path(__file__).parents[3] / "examples/events/toggle-feature.json"
    assert remedy(tmp_path, "send", path, "--to", provider.events).out.startswith("202 ")


def test_what_the_provider_refuses_failed(tmp_path: Path, provider: LocalProvider) -> None:
    said = remedy(tmp_path, "send", saved(tmp_path, {"id": "x"}), "--to", provider.events)
    assert said.code == 1
    assert said.out.startswith("400 ")


def test_a_provider_that_does_not_listen_is_told_in_one_line(tmp_path: Path) -> None:
    with closing(socket.socket()) as unheard:
        unheard.bind(("127.0.0.1", 0))
        to = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        said = remedy(tmp_path, "send", saved(tmp_path, triggered("x")), "--to", to)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [
        f"remedy: nothing listens at {to} (Connection refused); start it with remedy serve"
    ]


def test_an_event_that_can_not_be_sent_is_wrong_usage(tmp_path: Path) -> None:
    no_json = tmp_path / "text"
    no_json.write_text("hello")
    for arguments, hint in (
        (["missing.json"], "missing.json: No such file"),
        ([no_json, "--new-id"], "can't give the event"),
        ([no_json, "--to", "localhost:8080"], "is not an address"),
    ):
        said = remedy(tmp_path, "send", *arguments)
        assert (said.code, len(said.mistakes)) == (2, 1)
        assert hint in said.err


# Journal


def test_a_finished_execution_is_listed_on_one_line(played: Path) -> None:
    heading, line = look(played, "list").splitlines()
    assert heading.split()[:3] == ["ACCEPTED", "STATE", "ACTION"]
    assert UUID.search(line)
    assert "  succeeded/pass: PromotionCampaign off in var/flags.json (flagd)" in line


def test_executions_are_listed_by_state(played: Path) -> None:
    assert json.loads(look(played, "list", "--json", "--state", "finished"))["result"] == "pass"
    assert look(played, "list", "--json", "--state", "started") == ""


def test_an_execution_is_shown_whole(played: Path) -> None:
    execution = json.loads(look(played, "list", "--json"))
    shown = look(played, "show", execution["id"])
    assert re.search(r"^plan +.*PromotionCampaign.*true -> false$", shown, re.MULTILINE)
    event = json.loads(shown.partition("The event as it came in:")[2])
    assert event["id"] == execution["id"]
    whole = json.loads(look(played, "show", execution["id"], "--json"))
    assert whole["trigger"] == event


def test_an_execution_that_is_not_there_failed(played: Path) -> None:
    said = remedy(played, "journal", "show", "nope", REMEDY_JOURNAL="var/local-journal.db")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == ["remedy: there is no execution 'nope'; remedy journal list shows them"]


def test_every_execution_is_exported_as_a_line_of_json(played: Path) -> None:
    (line,) = look(played, "export").splitlines()
    assert json.loads(line)["trigger"]["data"]["action"]["action"] == "toggle-feature"


def test_a_journal_that_is_not_there_failed(tmp_path: Path) -> None:
    for command in (["list"], ["show", "x"], ["tail"], ["export"]):
        said = remedy(tmp_path, "journal", *command)
        assert (said.code, said.out) == (1, "")
        assert said.mistakes == [
            "remedy: there is no journal at var/journal.db; set REMEDY_JOURNAL"
        ]


def test_a_journal_is_followed_while_the_service_runs(tmp_path: Path) -> None:
    with local_provider(tmp_path, "--demo") as running:
        tail = subprocess.Popen(
            [REMEDY, "journal", "tail", "--json"],
            cwd=tmp_path,
            env=clean(tmp_path, {"REMEDY_JOURNAL": "var/local-journal.db"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with tail:
            assert tail.stdout
            before = json.loads(tail.stdout.readline())
            event = triggered("toggle-feature", {"Recommendations": "off"})
            remedy(tmp_path, "send", saved(tmp_path, event), "--to", running.events)
            followed = json.loads(tail.stdout.readline())
            tail.send_signal(SIGINT)
            rest, mistakes = tail.communicate(timeout=SECONDS)
    assert before["state"] == "finished"
    assert followed["id"] == event["id"]
    assert all(json.loads(line)["id"] == event["id"] for line in rest.splitlines())
    assert (tail.returncode, mistakes) == (0, "")


def test_what_an_event_brought_can_not_steer_the_terminal(tmp_path: Path) -> None:
    event = triggered("toggle-feature", {"\x1b[2J\x9b": "off"}, service="\x1b]0;pwned\x07")
    with local_provider(tmp_path) as running:
        remedy(tmp_path, "send", saved(tmp_path, event), "--to", running.events)
        running.stop()
    shown = look(tmp_path, "show", event["id"]) + look(tmp_path, "list") + look(tmp_path, "export")
    assert shown.replace("\n", "").isprintable()


# Serve


def test_each_mistake_in_the_settings_is_one_line(tmp_path: Path) -> None:
    wrong = {"REMEDY_PROT": "1", "REMEDY_PORT": "http", "REMEDY_DRAIN_SECONDS": "0"}
    said = remedy(tmp_path, "serve", **wrong)
    assert (said.code, said.out) == (2, "")
    assert [line.split(":")[1].strip() for line in said.mistakes] == [
        "REMEDY_PROT",
        "REMEDY_PORT",
        "REMEDY_DRAIN_SECONDS",
    ]


def test_an_action_that_is_not_there_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", REMEDY_ACTIONS="toggle-feature,nope")
    assert (said.code, said.out) == (2, "")
    assert said.mistakes == [
        f"remedy: REMEDY_ACTIONS: there is no action 'nope'; there are: {BUILT_IN}"
    ]


@pytest.mark.parametrize("name", ["REMEDY_PORT", "REMEDY_OPS_PORT"])
def test_a_port_in_use_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        said = remedy(tmp_path, "serve", **{**FREE_PORTS, name: port})
    assert said.code == 1
    assert said.mistakes == [
        f"remedy: port {port} of 127.0.0.1 is in use; stop what listens there, or set {name}"
    ]


def test_a_host_that_does_not_exist_is_told_in_one_line(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", **FREE_PORTS, REMEDY_HOST="nowhere.invalid")
    assert (said.code, len(said.mistakes)) == (1, 1)
    assert said.err.startswith("remedy: can't listen at nowhere.invalid")


def test_a_demonstration_is_for_local_mode(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", "--demo")
    assert (said.code, said.out) == (2, "")
    assert "--demo: goes with --local" in said.err
    assert list(tmp_path.iterdir()) == []


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


def test_a_second_provider_in_the_same_folder_is_told_why_not(tmp_path: Path) -> None:
    with local_provider(tmp_path, "--demo"):
        said = remedy(tmp_path, "serve", "--local", "--demo", **FREE_PORTS)
        assert default_variant(tmp_path / "var/flags.json") == "off"
    assert said.code == 1
    assert said.mistakes == ["remedy: another process serves from the journal var/local-journal.db"]


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
    assert reasons == ["flags.json is not a flagd file; remove it, the next start makes one"]
    assert flags.read_text() == "["


async def test_a_dry_run_that_finds_no_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Dial):
        async def plan(self, context: Context, value: int) -> Plan:
            raise TemporaryError("later")

    monkeypatch.setattr(acting, "DRY_RUN_SECONDS", 0.1)
    trigger = stored_trigger(orjson.dumps(triggered("dial", 1)))
    outcome = await acting._run(registry_of(Endless), trigger, dry_run=True)
    assert outcome.message == "no plan within 0.1 s; a provider would try on"


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


def test_a_settings_file_wins_over_the_defaults_of_local_mode(tmp_path: Path) -> None:
    (tmp_path / "remedy.yaml").write_text("REMEDY_JOURNAL: elsewhere.db\n")
    with local_provider(tmp_path, REMEDY_CONFIG="remedy.yaml") as running:
        running.stop()
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "var/local-journal.db").exists()


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_start_that_is_interrupted_ends_on_the_spot(tmp_path: Path, number: Signals) -> None:
    (tmp_path / "slow.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    said = remedy(tmp_path, "serve", "--local", **FREE_PORTS, REMEDY_ACTIONS_DIR=".")
    assert (said.code, said.out, said.err) == (-number, "", "")


def test_people_see_answers_and_addresses_until_ctrl_c(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [REMEDY, "serve", "--local", "--demo"],
        cwd=tmp_path,
        env=clean(tmp_path, {**FREE_PORTS, "TERM": "xterm", "COLUMNS": "100"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    with process:
        try:
            shown = _shown_until(ours, "remedy journal list")
            process.send_signal(SIGINT)
            shown += _shown_until(ours, "Stopping.")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            os.close(ours)
    assert "sh.keptn.event.action.finished  sockshop/production/carts  succeeded/pass" in shown
    assert "    PromotionCampaign off in var/flags.json (flagd)" in shown
    assert re.search(r"events +http://127\.0\.0\.1:\d+/", shown)
    assert "Traceback" not in shown


def _shown_until(terminal: int, text: str) -> str:
    """What a terminal shows, without colours."""
    shown = ""
    while text not in shown:
        shown += re.sub(r"\x1b\[[\d;]*m", "", os.read(terminal, 4096).decode())
    return shown
