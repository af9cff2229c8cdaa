"""Text in a terminal's width, and as one line for programs."""

import sys

import pytest

from keptn_remedy.cli import terminal

SENTENCE = "can't send to http://127.0.0.1:8080/: Connection refused; start the service"


@pytest.fixture(autouse=True)
def forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")


def test_mistakes_are_folded_below_each_other_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal.complain([SENTENCE])
    assert capsys.readouterr().err.splitlines() == [
        "remedy: can't send to",
        "        http://127.0.0.1:8080/:",
        "        Connection refused; start the",
        "        service",
    ]


def test_mistakes_are_one_line_each_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.complain([SENTENCE, "a\nb"])
    assert capsys.readouterr().err.splitlines() == [f"remedy: {SENTENCE}", "remedy: a b"]


def test_a_word_that_is_wider_than_the_terminal_stays_whole() -> None:
    assert terminal.folded(f"see {'x' * 50}").splitlines() == ["see", "x" * 50]


def test_nothing_that_is_printed_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    steering = "a\x1b[2J\x9b31m\x07\u202e"
    terminal.say(f"{steering}\nb")
    terminal.say_folded(steering)
    terminal.say_json({steering: steering})
    terminal.show_json({steering: steering})
    terminal.table((steering,), [(steering,)])
    terminal.console().print(terminal.coloured(steering))
    terminal.complain([steering])
    said = capsys.readouterr()
    assert (said.out + said.err).replace("\n", "").isprintable()
