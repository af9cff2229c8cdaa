"""`remedy send`: the event, the answer, and what to do where none comes."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.testing import triggered
from tests.commands import LocalProvider, local_provider, remedy
from tests.core.cli.folders import saved


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    with local_provider(tmp_path_factory.mktemp("provider")) as running:
        yield running


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
    assert said.mistakes == ["remedy: the service did not accept the event; its answer says why"]


def test_a_provider_that_does_not_listen_is_told_in_one_line(tmp_path: Path) -> None:
    with closing(socket.socket()) as unheard:
        unheard.bind(("127.0.0.1", 0))
        to = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        said = remedy(tmp_path, "send", saved(tmp_path, triggered("x")), "--to", to)
    assert (said.code, said.out) == (1, "")
    how = "start the service with remedy serve, or name its event port with --to"
    assert said.mistakes == [f"remedy: can't send to {to}: Connection refused; {how}"]


def test_an_event_that_can_not_be_sent_is_wrong_usage(tmp_path: Path) -> None:
    no_json = tmp_path / "text"
    no_json.write_text("hello")
    for arguments, hint in (
        (["missing.json"], "missing.json: No such file"),
        ([no_json, "--new-id"], "must hold one event as a JSON object"),
        ([no_json, "--to", "localhost:8080"], "is not an HTTP address"),
        ([no_json, "--to", "http://localhost:80800/"], "is not an HTTP address"),
    ):
        said = remedy(tmp_path, "send", *arguments)
        assert (said.code, len(said.mistakes)) == (2, 1)
        assert hint in said.err


def test_what_is_no_event_port_is_said(tmp_path: Path, provider: LocalProvider) -> None:
    ops = provider.log[-1]["executions"]
    said = remedy(tmp_path, "send", saved(tmp_path, triggered("x")), "--to", ops)
    assert (said.code, said.out[:4]) == (1, "405 ")
    assert said.mistakes == ["remedy: this is not the event port; name it with --to"]


def test_the_outcome_is_waited_for(tmp_path: Path, provider: LocalProvider) -> None:
    given = {"REMEDY_SERVER": provider.log[-1]["page"]}
    options = ("--wait", "--to", provider.events)
    before = saved(tmp_path, triggered("toggle-feature", {"Recommendations": "on"}))
    assert remedy(tmp_path, "send", before, *options, **given).code == 0  # whatever it was
    good = saved(tmp_path, triggered("toggle-feature", {"Recommendations": "off"}))
    said = remedy(tmp_path, "send", good, *options, **given)
    assert said.code == 0
    assert said.out.splitlines()[1].startswith("succeeded/pass: Recommendations off")
    bad = saved(tmp_path, triggered("toggle-feature", {"Nope": "off"}))
    said = remedy(tmp_path, "send", bad, *options, "--json", **given)
    assert said.code == 1
    assert json.loads(said.out.splitlines()[1])["status"] == "errored"
    said = remedy(tmp_path, "send", good, *options)
    [mistake] = said.mistakes
    assert (said.code, mistake.partition(";")[0]) == (
        1,
        "remedy: there is no journal at var/journal.db",
    )
