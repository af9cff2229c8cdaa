"""The real `remedy` as a process: one command to its end, or a provider in local mode."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals
from tempfile import TemporaryFile

import orjson

from tests import warm_start

REMEDY = Path(sys.executable).with_name("remedy")
SECONDS = 60.0
COVERAGE = "COVERAGE_PROCESS_CONFIG"  # how coverage tells the processes that are started
FREE_PORTS = {"REMEDY_PORT": "0", "REMEDY_OPS_PORT": "0"}

_known: set[tuple[str, ...]] = set()


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def mistakes(self) -> list[str]:
        """The lines of stderr."""
        return self.err.splitlines()


def remedy(folder: Path, *arguments: object, **variables: str) -> Said:
    """Run one command in a folder, with these variables and no others. The first time in a test
    process it is started as a user does; later it is forked, which is quicker.
    """
    words = tuple(map(str, arguments))
    environment = clean(folder, variables)
    command = tuple(word for word in words[:2] if word.isalpha())
    if command in _known and warm_start.can_start(environment):
        return _forked(folder, words, environment)
    _known.add(command)
    done = subprocess.run(
        [REMEDY, *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def _forked(folder: Path, words: tuple[str, ...], environment: dict[str, str]) -> Said:
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = warm_start.start(
            *words, cwd=folder, env=environment, output=out.fileno(), errors=err.fileno()
        )
        try:
            code = process.wait(SECONDS)
        except TimeoutError:
            process.kill()
            process.wait()
            raise
        for file in (out, err):
            file.seek(0)
        return Said(code, out.read(), err.read())


def clean(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """An environment without what surrounds the tests, but for what measures their coverage."""
    kept = {name: os.environ[name] for name in (COVERAGE,) if name in os.environ}
    return {"PATH": os.defpath, "HOME": str(folder), **kept, **variables}


@dataclass
class LocalProvider:
    """A running `remedy serve --local`; `log` is what it has logged so far."""

    process: subprocess.Popen[str]
    log: list[dict[str, str]]

    @property
    def events(self) -> str:
        """The address of its event port."""
        return self.log[-1]["events"]

    def stop(self, number: Signals = SIGTERM) -> Said:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return Said(self.process.returncode, out, err)


@contextmanager
def local_provider(folder: Path, *arguments: str, **variables: str) -> Iterator[LocalProvider]:
    """A provider on free ports that has told its addresses; it is killed unless it was stopped."""
    process = subprocess.Popen(
        [REMEDY, "serve", "--local", *arguments],
        cwd=folder,
        env=clean(folder, {**FREE_PORTS, **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield LocalProvider(process, _until_addresses(process))
        finally:
            process.kill()


def _until_addresses(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    assert process.stdout
    assert process.stderr
    log = []
    for line in process.stdout:
        log.append(orjson.loads(line))
        if log[-1]["message"] == "serving without Keptn":
            return log
    raise AssertionError(f"the provider ended: {process.stderr.read()}")
