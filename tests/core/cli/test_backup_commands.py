"""`remedy journal backup` and `restore`."""

import subprocess
from pathlib import Path

from keptn_remedy.journal.sqlite import SqliteJournal
from tests.commands import REMEDY, clean, remedy
from tests.core.cli.orders import left_by_a_service
from tests.ordering import JOURNAL, begun, say


async def test_a_journal_is_backed_up_and_restored(tmp_path: Path) -> None:
    async with left_by_a_service(tmp_path) as journal:
        execution = await begun(journal)
        said = await say(tmp_path, "journal", "backup", "copy.db")
        assert (said.code, said.out) == (0, "backed up to copy.db: 1 execution, 1 of them open\n")
        await begun(journal)
    said = await say(tmp_path, "journal", "restore", "copy.db")
    assert said.code == 0
    assert said.out == "restored journal.db: 1 execution, 1 of them open\n"
    assert (await say(tmp_path, "journal", "show", execution.id)).code == 0


async def test_a_copy_goes_through_a_pipe(tmp_path: Path) -> None:
    async with left_by_a_service(tmp_path) as journal:
        await begun(journal)
    environ = clean(tmp_path, {"REMEDY_JOURNAL": JOURNAL})
    copied = run(tmp_path, environ, "backup", b"")
    assert copied.stdout.startswith(b"SQLite format 3")
    restored = run(tmp_path, {**environ, "REMEDY_JOURNAL": "other.db"}, "restore", copied.stdout)
    assert restored.returncode == 0
    assert restored.stdout == b"restored other.db: 1 execution, 1 of them open\n"


def run(
    folder: Path, environ: dict[str, str], command: str, given: bytes
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [REMEDY, "journal", command, "-"],
        cwd=folder,
        env=environ,
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )


async def test_nothing_is_restored_under_a_service(tmp_path: Path, journal: SqliteJournal) -> None:
    await say(tmp_path, "journal", "backup", "copy.db")
    said = await say(tmp_path, "journal", "restore", "copy.db")
    assert (said.code, said.out) == (1, "")
    assert "stop it first" in said.err


def test_what_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    for command, missing in (("backup", "there is no journal"), ("restore", "No such file")):
        said = remedy(tmp_path, "journal", command, "copy.db", REMEDY_JOURNAL="journal.db")
        assert (said.code, said.out) == (1, "")
        (line,) = said.mistakes
        assert missing in line
