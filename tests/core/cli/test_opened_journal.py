"""Commands where there is no journal to open."""

from pathlib import Path

import pytest

from tests.commands import remedy
from tests.ordering import say

HINT = "set REMEDY_JOURNAL, or name a running service by --server"


def test_a_journal_that_is_not_there_failed(tmp_path: Path) -> None:
    for command in (["list"], ["show", "x"], ["tail"], ["export"]):
        said = remedy(tmp_path, "journal", *command)
        assert (said.code, said.out) == (1, "")
        assert said.mistakes == [f"remedy: there is no journal at var/journal.db; {HINT}"]


@pytest.mark.parametrize(
    "command",
    [["pause", "--reason", "x"], ["resume"], ["approve", "x"], ["deny", "x"], ["undo", "x"]],
    ids=lambda command: command[0],
)
async def test_where_there_is_no_journal_nothing_is_ordered(
    tmp_path: Path, command: list[str]
) -> None:
    said = await say(tmp_path, *command)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [f"remedy: there is no journal at journal.db; {HINT}"]
