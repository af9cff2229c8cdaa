from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from signal import SIGKILL
from threading import Thread

import pytest

from tests import warm_start
from tests.commands import REMEDY, clean

WRONG = {"REMEDY_PORT": "many", "TZ": "Asia/Tokyo"}


def test_a_warm_start_says_and_returns_what_the_command_does(tmp_path: Path) -> None:
    environment = clean(tmp_path, WRONG)
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as output, err.open("wb") as errors:
        process = warm_start.start(
            "serve", cwd=tmp_path, env=environment, output=output.fileno(), errors=errors.fileno()
        )
    code = process.wait()
    command = subprocess.run(
        [REMEDY, "serve"], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert code == command.returncode == 2
    assert out.read_bytes() == command.stdout == b""
    assert err.read_bytes() == command.stderr


def test_what_is_killed_is_seen_to_have_ended(tmp_path: Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        output = nowhere.fileno()
        process = warm_start.start(
            "serve",
            "--local",
            cwd=tmp_path,
            env=clean(tmp_path, {}),
            output=output,
            errors=output,
        )
    process.kill()
    assert process.wait() == -SIGKILL
    assert process.poll() == -SIGKILL
    process.kill()  # nothing is there any more


def test_it_outlives_the_thread_that_was_the_first_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[socket.socket] = []
    first = Thread(target=lambda: ways.append(warm_start._forking.__wrapped__()))
    first.start()
    first.join()
    monkeypatch.setattr(warm_start, "_forking", ways.pop)
    with (tmp_path / "out").open("wb") as output:
        process = warm_start.start(
            "--version",
            cwd=tmp_path,
            env=clean(tmp_path, {}),
            output=output.fileno(),
            errors=output.fileno(),
        )
    assert process.wait() == 0


@pytest.mark.parametrize("name", ["PYTHONDEVMODE", "SSL_CERT_FILE"])
def test_what_is_read_before_a_fork_needs_a_process_of_its_own(name: str) -> None:
    assert not warm_start.can_start({name: "1"})
