"""The shell commands of the documents do what they say: `remedy` against a provider that runs,
`kubectl create` as a dry run, other `kubectl` commands against the manifests that they name.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen
from uuid import uuid4

import orjson
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from keptn_remedy.cli.commands import app
from keptn_remedy.testing import triggered
from tests.commands import clean, local_provider
from tests.docs.shell import PAGES, ROOT, Line, blocks, inline, lines
from tests.waiting import until

KUBECTL = Path(sys.executable).with_name("kubectl")
TOKEN = "correct-horse-battery-staple"
ASKS = "version: 1\nrules: [{name: a person looks first, mode: approve}]\n"
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}

NOT_RUN = {
    "make": "it installs, or runs the tests themselves; CI runs it",
    "docker": "there is no container engine",
    "pip": "it would change what the tests run with",
    "remedy serve": "it serves until a signal: tests/end_to_end and tests/standalone do that",
    "remedy notify": "its secrets are files of a pod, and it posts to Slack: "
    "tests/core/cli/test_notify_commands.py",
    "remedy journal copy": "it needs a database at db: tests/core/journal copies both ways",
    "remedy try set-limit": "it asks a gateway, for which examples/set_limit has a stand-in",
    "kubectl port-forward": "there is no cluster; the provider listens where it would",
    "helm": "tests/deploy renders the chart with Helm's own code",
}
"""What is only read, and why. Its options and files are looked at all the same."""
MAY_FAIL = {
    "remedy resume --target": "no target is suspended, which it says",
    "remedy episodes show": "no problem came: tests/standalone/test_commands.py",
    "remedy doctor": "it finds neither a sidecar nor a cluster, and says so",
    "remedy lint": "the example names an action that isn't installed here",
}
"""What may exit with 1, and why."""
PLAIN = ("mkdir", "cp", "head", "base64", "openssl", "grep")


def environment_of(page: Path) -> dict[str, Any]:
    """The files that a reader of the page has by now: what its YAML blocks show, and examples."""
    text = page.read_text("utf-8")
    cases = [each for each in blocks(text, "yaml") if each.startswith("cases:")]
    return {
        "policy.yaml": (ROOT / "examples/policy.yaml").read_text("utf-8"),
        "remediation.yaml": (ROOT / "examples/remediation.yaml").read_text("utf-8"),
        "shipyard.yaml": (ROOT / "examples/shipyard.yaml").read_text("utf-8"),
        "purge_cache.py": (ROOT / "examples/purge_cache/purge_cache.py").read_text("utf-8"),
        "cases.yaml": cases[0] if cases else "cases: []\n",
        "operators.yaml": "operators: []\n",
        "token": TOKEN,
        "token.txt": TOKEN,
    }


class Provider(NamedTuple):
    """A provider in local mode, whose executions ask; flags that no execution has switched yet."""

    folder: Path
    events: str
    page: str
    unused_flags: Iterator[str]


@dataclass
class Reader:
    """Somebody who types what a page shows, from top to bottom, in a folder of their own."""

    folder: Path
    events: str
    page: str
    unused_flags: Iterator[str]
    exported: dict[str, str] = field(default_factory=dict)
    acted: str = ""

    def type(self, line: Line) -> str:
        """Run one command; returns what it printed."""
        if not line.words:
            return ""
        if line.words[0] == "export":
            self.exported |= dict(word.split("=", 1) for word in line.words[1:])
            return ""
        words = [self._meant(word, line.words) for word in line.words]
        if is_in(NOT_RUN, words):
            if words[0] == "pip" and words[-1].startswith("./"):
                self.exported["REMEDY_ACTIONS_DIR"] = words[-1]
            return ""
        if words[0] == "kubectl":
            return self._kubectl(words)
        if words[0] == "remedy":
            return self._remedy(words[1:], line)
        assert words[0] in (*PLAIN, "curl"), f"nobody says how to try {words[0]}"
        return self._other(words, line)

    def _remedy(self, words: list[str], line: Line) -> str:
        if words[0] == "send":
            words += ["--to", self.events]
        given = {**self.exported, **line.variables}

        def invoke() -> Result:
            return CliRunner().invoke(app, words, env=given, catch_exceptions=False)

        with chdir(self.folder):
            done = copy_context().run(invoke)
        may = (0, 1) if is_in(MAY_FAIL, ["remedy", *words]) else (0,)
        assert done.exit_code in may, f"remedy {words}: {done.output}"
        if line.writes:
            (self.folder / line.writes).write_text(done.stdout)
        return done.stdout

    def _other(self, words: list[str], line: Line) -> str:
        if line.after == "|":
            return ""
        if words[0] == "curl":
            words[1:1] = ["--fail", "--max-time", "30"]
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=clean(self.folder, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
        return done.stdout.decode("utf-8", "replace")

    def _kubectl(self, words: list[str]) -> str:
        if "--" in words:
            inner = words[words.index("--") + 1 :]
            words = words[: words.index("--")]
            if inner[0] == "remedy" and inner[1] != "try" and "-" not in inner:
                self.type(Line(tuple(inner), {}))
        look_at_kubectl(words)
        if words[1] == "create" and KUBECTL.exists():
            dry = [word for word in words if not word.startswith("--dry-run")]
            self._other([str(KUBECTL), *dry[1:], "--dry-run=client"], Line((), {}))
        return ""

    def _meant(self, word: str, words: tuple[str, ...]) -> str:
        word = word.removeprefix(".venv/bin/")
        if word == "ID" and words[-2] in ("approve", "deny"):
            return self.waiting()
        if word == "@waiting":
            self.waiting()
        if word == "ID":
            shown = self.acted or self.ended()
            self.acted = "" if words[-2] == "undo" else shown
            return shown
        word = {"TARGET": "flagd:var/flags.json#PromotionCampaign", "$TOKEN": TOKEN}.get(word, word)
        for shown, real in (("http://127.0.0.1:8080/", self.events), (":8090", self._ops)):
            word = word.replace(shown, real)
        return word.replace("localhost", "127.0.0.1").replace("$TOKEN", TOKEN)

    @property
    def _ops(self) -> str:
        return self.page.removeprefix("http://127.0.0.1").rstrip("/")

    def waiting(self) -> str:
        """A new execution, the only one that waits for approval."""
        for each in self._asking():
            self.order(f"executions/{each}/deny")
        execution = f"{uuid4()}"
        value = {next(self.unused_flags): "off"}
        event = triggered("toggle-feature", value, id=execution, service=execution)
        headers = {"Content-Type": "application/cloudevents+json"}
        answer(Request(self.events, orjson.dumps(event), headers))  # noqa: S310  on loopback
        asyncio.run(until(lambda: self._asking() == [execution], within_seconds=60))
        return execution

    def ended(self) -> str:
        """An execution that has acted."""
        execution = self.waiting()
        self.order(f"executions/{execution}/approve")
        path = f"/api/executions/{execution}"
        asyncio.run(until(lambda: bool(self._get(path)["state"] == "finished"), within_seconds=60))
        return execution

    def _asking(self) -> list[str]:
        found = self._get("/api/executions?waiting=approval")["executions"]
        return [each["id"] for each in found]

    def _get(self, path: str) -> Any:
        return orjson.loads(answer(f"{self.page.rstrip('/')}{path}"))

    def order(self, path: str) -> None:
        """As an operator would, on the ops port."""
        url = f"{self.page.rstrip('/')}/api/{path}"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        answer(Request(url, b"{}", headers))  # noqa: S310  on loopback


def answer(asked: Request | str) -> bytes:
    """What the provider answers."""
    with urlopen(asked, timeout=60) as answered:  # noqa: S310  on loopback
        found: bytes = answered.read()
    return found


def is_in(table: dict[str, str], words: list[str]) -> bool:
    """Whether a table names this command."""
    return any(" ".join(words).startswith(name) for name in table)


@cache
def deployed() -> tuple[frozenset[str], frozenset[str]]:
    """The objects of the manifests, such as `deployment/keptn-remedy`, and their containers."""
    names, containers = set[str](), set[str]()
    for path in sorted((ROOT / "deploy").glob("**/*.yaml")):
        if "chart" in path.parts or "values" in path.parts:
            continue
        for each in filter(None, yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader)):
            names.add(f"{each['kind'].lower()}/{each['metadata']['name']}")
            of_pod = each.get("spec", {}).get("template", {}).get("spec", each.get("spec", {}))
            containers |= {one["name"] for one in of_pod.get("containers", [])}
    return frozenset(names), frozenset(containers)


def look_at_kubectl(words: list[str]) -> None:
    """What a command names is there: its files, and in the manifests objects and containers."""
    names, containers = deployed()
    for flag, word in pairwise(words):
        if flag == "-f" and word != "-":
            assert (ROOT / word).exists(), word
        if flag == "-c":
            assert word in containers, word
    named = [word for word in words[2:] if word.startswith(("deployment/", "pod/"))]
    assert [name for name in named if name not in names] == []


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "var").mkdir()
    others = [f"Other{number}" for number in range(100)]
    flags = {"flags": dict.fromkeys(("PromotionCampaign", *others), FLAG)}
    (folder / "var/flags.json").write_bytes(orjson.dumps(flags))
    (folder / "ask.yaml").write_text(ASKS)
    (folder / "token").write_text(TOKEN)
    given = {"REMEDY_POLICY": "ask.yaml", "REMEDY_OPERATOR_TOKEN_FILE": "token"}
    with local_provider(folder, **given) as running:
        yield Provider(folder, running.events, running.log[-1]["page"], iter(others))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shown = [line for block in blocks(page.read_text("utf-8"), "sh") for line in lines(block)]
    if not shown:
        return
    provider: Provider = request.getfixturevalue("provider")
    for name, text in environment_of(page).items():
        (tmp_path / name).write_text(text)
    for place, target in (("var", provider.folder / "var"), ("examples", ROOT / "examples")):
        (tmp_path / place).symlink_to(target)
    reader = Reader(tmp_path, provider.events, provider.page, provider.unused_flags)
    if page.parent == ROOT / "docs":  # they say: where the service runs
        reader.exported["REMEDY_JOURNAL"] = "var/local-journal.db"
    reader.order("resume")  # another page may have paused
    for line in shown:
        reader.type(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_options_of_the_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    shown = [line for block in blocks(text, "sh") for line in lines(block)]
    for words in [*(line.words for line in shown), *inline(text)]:
        if "remedy" in words:
            look_at_remedy([*words[words.index("remedy") + 1 :]])


@cache
def all_commands() -> Any:
    return typer.main.get_command(app)


def look_at_remedy(words: list[str]) -> None:
    """The command and its options exist."""
    command = all_commands()
    while words and (commands := getattr(command, "commands", None)) and words[0] in commands:
        command = commands[words.pop(0)]
    options = {option for each in command.params for option in each.opts} | {"-h", "--help"}
    given = [word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1]
    assert [option for option in given if option not in options] == [], command.name


def test_each_exception_is_about_a_command_that_a_page_shows() -> None:
    shown = [
        " ".join(line.words).removeprefix(".venv/bin/")
        for page in PAGES
        for block in blocks(page.read_text("utf-8"), "sh")
        for line in lines(block)
    ]
    for name in (*NOT_RUN, *MAY_FAIL):
        assert any(each.startswith(name) for each in shown), name
