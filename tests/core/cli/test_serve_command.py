"""`remedy serve`: how it starts, what it prints, how it ends."""

import os
import pty
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.commands import (
    FREE_PORTS,
    REMEDY,
    SECONDS,
    clean,
    local_provider,
    remedy,
)
from tests.core.cli.folders import BUILT_IN, default_variant


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
        f"remedy: port {port} on 127.0.0.1 is in use; stop the process there, or set {name}"
    ]


def test_a_host_that_does_not_exist_is_told_in_one_line(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", **FREE_PORTS, REMEDY_HOST="nowhere.invalid")
    assert (said.code, len(said.mistakes)) == (1, 1)
    assert said.err.startswith("remedy: can't listen: ")
    assert "REMEDY_HOST (nowhere.invalid)" in said.err


def test_a_demonstration_is_for_local_mode(tmp_path: Path) -> None:
    said = remedy(tmp_path, "serve", "--demo")
    assert (said.code, said.out) == (2, "")
    assert "--demo works only together with --local" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_second_provider_in_the_same_folder_is_told_why_not(tmp_path: Path) -> None:
    with local_provider(tmp_path, "--demo"):
        said = remedy(tmp_path, "serve", "--local", "--demo", **FREE_PORTS)
        assert default_variant(tmp_path / "var/flags.json") == "off"
    assert said.code == 1
    assert said.mistakes == ["remedy: another process serves from the journal var/local-journal.db"]


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
        [REMEDY, "serve", "--local", "--demo", "--tour"],
        cwd=tmp_path,
        env=clean(tmp_path, {**FREE_PORTS, "TERM": "xterm", "COLUMNS": "100"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    with process:
        try:
            shown = _shown_until(ours, "remedy undo @last")
            process.send_signal(SIGINT)
            shown += _shown_until(ours, "Stopping.")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            os.close(ours)
    assert "sh.keptn.event.action.finished  sockshop/production/carts  succeeded/pass" in shown
    assert "    PromotionCampaign off in var/flags.json (flagd)" in shown
    assert re.search(r"^  Plan +flagd:var/flags.json#PromotionCampaign", shown, re.MULTILINE)
    assert re.search(r"^  page +http://127\.0\.0\.1:\d+/\r?$", shown, re.MULTILINE)
    assert re.search(r"events +http://127\.0\.0\.1:\d+/", shown)
    assert "refused by guard-rail pause" in shown
    assert re.search(r"^  Refused +by guard-rail pause", shown, re.MULTILINE)
    assert re.search(r"^  Undone +flagd:var/flags.json#PromotionCampaign", shown, re.MULTILINE)
    # After the tour the flag is on again: what is sent next can be undone.
    assert shown.index("remedy journal list") < shown.index("remedy send") < shown.index("@last")
    assert "execution finished" not in shown  # the log doesn't repeat what is shown
    assert "Traceback" not in shown


def _shown_until(terminal: int, text: str) -> str:
    """What a terminal shows, without colours."""
    shown = ""
    while text not in shown:
        shown += re.sub(r"\x1b\[[\d;]*m", "", os.read(terminal, 4096).decode())
    return shown
