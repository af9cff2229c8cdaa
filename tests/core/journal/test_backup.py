"""Copies of the whole journal, and back."""

import io
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.journal import (
    Counts,
    Ending,
    JournalUnusable,
    back_up,
    back_up_to_stream,
    restore,
)
from keptn_remedy.journal.schema import MIGRATIONS
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journals import DONE, SetClock, accepted, damage
from tests.core.places import Place, SqlitePlace


@pytest.fixture
def place(path: Path, clock: SetClock) -> Place:
    return SqlitePlace(path, clock.now)


async def filled(path: Path, *ids: str) -> None:
    journal = SqliteJournal.open(path)
    for event_id in ids:
        await accepted(journal, event_id, service=event_id)
    await journal.close()


async def ids_in(path: Path) -> list[str]:
    journal = SqliteJournal.open(path)
    found = [record.id for record in await journal.records()]
    await journal.close()
    return sorted(found)


def files_in(folder: Path) -> list[str]:
    """All but the lock, and what SQLite leaves where nobody may write."""
    return sorted(
        file.name for file in folder.iterdir() if re.fullmatch(r"[a-z]+(\.db)?", file.name)
    )


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "backup.db"


async def test_a_backup_of_a_served_journal_holds_all_that_was_stored(
    journal: SqliteJournal, path: Path, backup: Path, tmp_path: Path
) -> None:
    first = await accepted(journal, "1")
    await accepted(journal, "2", "orders")
    await journal.finish(first, Ending(DONE), attempts=1)
    assert back_up(path, backup) == Counts(2, 1)
    assert files_in(backup.parent) == ["backup.db"]
    await accepted(journal, "3", "stock")
    other = tmp_path / "other" / "journal.db"
    assert restore(other, backup) == Counts(2, 1)
    assert await ids_in(other) == ["1", "2"]


async def test_a_copy_may_be_read_by_its_owner_alone(path: Path, backup: Path) -> None:
    await filled(path, "1")
    back_up(path, backup)
    assert mode(backup) == 0o600
    restore(path, backup)
    assert mode(path) == 0o600


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_copy_goes_through_streams(path: Path, tmp_path: Path) -> None:
    await filled(path, "1")
    stream = io.BytesIO()
    assert back_up_to_stream(path, stream) == Counts(1, 1)
    stream.seek(0)
    other = tmp_path / "other.db"
    restore(other, stream)
    assert await ids_in(other) == ["1"]
    assert files_in(tmp_path) == [path.name, "other.db"]


async def test_an_earlier_backup_is_replaced(path: Path, backup: Path) -> None:
    await filled(path, "1")
    back_up(path, backup)
    await filled(path, "2")
    assert back_up(path, backup).executions == 2


async def test_a_journal_is_not_overwritten_by_a_backup(
    journal: SqliteJournal, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    other = tmp_path / "other.db"
    await filled(other)
    for to in (path, link):
        with pytest.raises(JournalUnusable, match="a journal in use"):
            back_up(path, to)
    with pytest.raises(JournalUnusable, match="a journal in use"):
        back_up(other, path)
    await accepted(journal)


async def test_nothing_is_restored_while_a_service_runs(
    journal: SqliteJournal, path: Path, backup: Path
) -> None:
    back_up(path, backup)
    await accepted(journal)
    with pytest.raises(JournalUnusable, match="stop it first"):
        restore(path, backup)
    assert await journal.record("1")


async def test_a_restored_journal_takes_nothing_over_from_the_one_before(
    path: Path, backup: Path
) -> None:
    await filled(path, "old")
    back_up(path, backup)
    await filled(path, "new")
    left_by_a_kill(path)
    restore(path, backup)
    assert await ids_in(path) == ["old"]


def left_by_a_kill(path: Path) -> None:
    """A -wal that was not folded into its file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE executions SET id = id || ' changed'")
        for suffix in ("-wal", "-shm"):
            shutil.copyfile(f"{path}{suffix}", f"{path}{suffix}.kept")
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}.kept").rename(f"{path}{suffix}")


async def test_what_is_only_in_the_wal_is_in_the_backup(path: Path, backup: Path) -> None:
    await filled(path, "1")
    left_by_a_kill(path)
    back_up(path, backup)
    assert await ids_in(backup) == ["1 changed"]


def empty(copy: Path) -> None:
    copy.write_bytes(b"")


def letter(copy: Path) -> None:
    copy.write_text("a letter to somebody " * 100)


def cut(copy: Path) -> None:
    os.truncate(copy, copy.stat().st_size // 2)


def without_an_index(copy: Path) -> None:
    damage(copy, "executions_open")


def newer(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def another_database(copy: Path) -> None:
    copy.unlink()
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE letters (text)")
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (empty, "no journal"),
        (letter, "no journal"),
        (cut, "damaged"),
        (without_an_index, "damaged"),
        (newer, "run the newer release"),
        (another_database, "no journal"),
    ],
    ids=lambda given: getattr(given, "__name__", given),
)
async def test_what_is_no_sound_journal_is_refused_and_the_old_one_stays(
    path: Path, backup: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    await filled(path, "1")
    back_up(path, backup)
    spoil(backup)
    for source in (backup, opened(backup)):
        with pytest.raises(JournalUnusable, match=reason):
            restore(path, source)
    assert files_in(path.parent) == ["backups", path.name]
    assert await ids_in(path) == ["1"]


def opened(path: Path) -> io.BytesIO:
    return io.BytesIO(path.read_bytes())


async def test_a_damaged_journal_is_not_backed_up(path: Path, backup: Path) -> None:
    await filled(path, "1")
    back_up(path, backup)
    damage(path, "executions_open")
    with pytest.raises(JournalUnusable, match="damaged"):
        back_up(path, backup)
    assert await ids_in(backup) == ["1"]


async def test_a_damaged_journal_is_replaced_by_its_backup(path: Path, backup: Path) -> None:
    await filled(path, "1")
    back_up(path, backup)
    letter(path)
    restore(path, backup)
    assert await ids_in(path) == ["1"]


async def test_a_linked_journal_is_restored_in_its_place(
    path: Path, backup: Path, tmp_path: Path
) -> None:
    await filled(path, "1")
    back_up(path, backup)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    restore(link, backup)
    assert link.readlink() == path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_restores_still_belongs_to_the_user_of_the_service(
    path: Path, backup: Path
) -> None:
    await filled(path, "1")
    back_up(path, backup)
    os.chown(path, 10001, 10001)
    restore(path, backup)
    assert {owner(path), owner(path.with_name(f"{path.name}.lock"))} == {(10001, 10001)}


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid
