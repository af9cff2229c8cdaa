"""The journal is one file, and the same file, for as long as it is served."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.journal import Ending, JournalError, JournalUnusable
from keptn_remedy.journal.lock import READER_KIB, connect
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Clock
from tests.core.journals import DONE, SetClock, accepted, damage, reports_of, trigger
from tests.core.places import Place, SqlitePlace


@pytest.fixture
def place(path: Path, clock: SetClock) -> Place:
    return SqlitePlace(path, clock.now)


def holds_only(path: Path, content: Path) -> bool:
    return path.read_bytes() == content.read_bytes()


def is_there(path: Path) -> bool:
    return path.exists()


def failure_of(journal: SqliteJournal) -> str | None:
    return journal.failure


def side_files(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm")]


# One service for a file, by whatever name


def by_symlink(path: Path, other: Path) -> None:
    other.symlink_to(path)


def by_hard_link(path: Path, other: Path) -> None:
    other.hardlink_to(path)


def by_a_linked_folder(path: Path, other: Path) -> None:
    other.parent.rmdir()
    other.parent.symlink_to(path.parent)


@pytest.mark.parametrize("link", [by_symlink, by_hard_link, by_a_linked_folder])
async def test_a_second_service_is_refused_by_whatever_name_it_reaches_the_file(
    journal: SqliteJournal, path: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / path.name
    link(path, other)
    with pytest.raises(JournalUnusable, match="another process serves from the journal"):
        SqliteJournal.open(other)
    other.unlink()


async def test_a_second_service_is_refused_though_the_lock_file_was_deleted(
    journal: SqliteJournal, path: Path
) -> None:
    delete(path.with_name(f"{path.name}.lock"))
    with pytest.raises(JournalUnusable, match="another process"):
        SqliteJournal.open(path)


async def test_a_file_with_two_names_is_not_served(path: Path, tmp_path: Path) -> None:
    await SqliteJournal.open(path).close()
    (tmp_path / "other.db").hardlink_to(path)
    with pytest.raises(JournalUnusable, match="has 2 hard links"):
        SqliteJournal.open(path)
    (tmp_path / "other.db").unlink()
    await SqliteJournal.open(path).close()


async def test_a_journal_is_served_through_a_symlink(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    journal = SqliteJournal.open(link)
    await accepted(journal)
    await journal.close()
    again = SqliteJournal.open(path)
    assert await again.record("1")
    await again.close()


def write_a_letter(path: Path) -> None:
    path.write_text("a letter to somebody " * 100)


async def test_what_could_not_be_opened_is_not_locked(path: Path) -> None:
    write_a_letter(path)
    with pytest.raises(JournalUnusable, match="not a database"):
        SqliteJournal.open(path)
    delete(path)
    await SqliteJournal.open(path).close()


# The same file


def move(path: Path, to: Path) -> None:
    path.rename(to)


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for file in (path, *side_files(path)):
        file.unlink()


def replace(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    copy.rename(path)


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def delete_wal(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def delete_shm(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def replace_wal(path: Path) -> None:
    delete_wal(path)
    Path(f"{path}-wal").touch()


@pytest.mark.parametrize(
    "lose",
    [delete, delete_all, replace, move_the_folder, delete_wal, delete_shm, replace_wal],
    ids=lambda lose: lose.__name__,
)
async def test_nothing_is_stored_in_a_file_that_is_no_longer_the_journal(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "data" / "journal.db"
    journal = SqliteJournal.open(path)
    execution = await accepted(journal)
    lose(path)
    with pytest.raises(JournalError, match="was deleted or replaced while it was served"):
        await journal.rehearse()
    assert journal.failure
    assert str(path) in journal.failure
    for change in (
        lambda: journal.accept(trigger("2"), "wait"),
        lambda: journal.begin(execution, reports_of(execution, Clock())[0]),
        lambda: journal.finish(execution, Ending(DONE), attempts=1),
        lambda: journal.remember("a", "b", 1),
    ):
        with pytest.raises(JournalError, match="was deleted or replaced"):
            await change()
    await journal.close()


@pytest.mark.parametrize("lose", [delete, replace], ids=lambda lose: lose.__name__)
async def test_a_second_service_is_refused_though_the_file_was_deleted_or_replaced(
    journal: SqliteJournal, path: Path, lose: Callable[[Path], None]
) -> None:
    lose(path)
    with pytest.raises(JournalUnusable, match="another process serves from the journal"):
        SqliteJournal.open(path)


async def test_a_file_that_is_put_back_is_the_journal_again(
    journal: SqliteJournal, path: Path
) -> None:
    away = path.with_name("away.db")
    move(path, away)
    with pytest.raises(JournalError):
        await journal.accept(trigger("1"), "wait")
    assert journal.failure
    move(away, path)
    await journal.rehearse()
    await accepted(journal, "1")
    assert not journal.failure


async def test_a_file_that_has_gone_is_not_made_again(journal: SqliteJournal, path: Path) -> None:
    delete_all(path)
    with pytest.raises(JournalError):
        await journal.accept(trigger("1"), "wait")
    assert not is_there(path)


async def test_what_was_restored_under_a_service_is_left_as_it_is_when_this_leaves(
    path: Path, tmp_path: Path
) -> None:
    """A copy over the file itself keeps its inode: SQLite would fold the old -wal into it."""
    backup = tmp_path / "backup.db"
    journal = SqliteJournal.open(path)
    await accepted(journal, "1")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    await accepted(journal, "2")
    for file in side_files(path):
        file.unlink()
    shutil.copyfile(backup, path)
    with pytest.raises(JournalError):
        await accepted(journal, "3")
    await journal.close()
    assert holds_only(path, backup)


async def test_the_wal_is_folded_into_the_file_when_the_service_leaves(path: Path) -> None:
    journal = SqliteJournal.open(path)
    await accepted(journal)
    await journal.close()
    assert not any(file.exists() for file in side_files(path))


async def test_commands_beside_the_service_leave_its_side_files_alone(
    journal: SqliteJournal, path: Path
) -> None:
    for opened in (SqliteJournal.beside(path), SqliteJournal.read_only(path)):
        assert await opened.records() == []
        await opened.close()
    await journal.rehearse()


# Who serves


async def test_a_reader_keeps_few_pages_in_memory(path: Path) -> None:
    await SqliteJournal.open(path).close()
    with closing(connect(path, "ro")) as reader:
        assert reader.execute("PRAGMA cache_size").fetchone() == (-READER_KIB,)


async def test_whether_a_service_runs_is_told_by_the_lock_of_the_file(path: Path) -> None:
    await SqliteJournal.open(path).close()
    beside = SqliteJournal.beside(path)
    assert not beside.is_served()
    journal = SqliteJournal.open(path)
    assert beside.is_served()
    await journal.close()
    assert not beside.is_served()
    await SqliteJournal.open(path).close()  # asking has not kept the lock
    await beside.close()


async def test_a_service_is_found_through_a_symlink_to_its_file(
    journal: SqliteJournal, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "link.db"
    other.symlink_to(path)
    beside = SqliteJournal.beside(other)
    assert beside.is_served()
    await beside.close()


async def test_no_order_is_given_through_a_hard_link(
    journal: SqliteJournal, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "link.db"
    other.hardlink_to(path)
    with pytest.raises(JournalUnusable, match="2 hard links"):
        SqliteJournal.beside(other)
    other.unlink()


async def test_a_service_that_serves_a_replaced_file_is_no_service_of_this_one(
    journal: SqliteJournal, path: Path
) -> None:
    replace(path)
    beside = SqliteJournal.beside(path)
    with pytest.raises(JournalUnusable, match=r"serves from another file.*restart the service"):
        beside.is_served()
    await beside.close()


# Damage


@pytest.mark.parametrize(
    "index", ["sqlite_autoindex_executions_1", "executions_open", "reports_of", "reports_due"]
)
async def test_a_damaged_page_is_told_before_an_event_meets_it(path: Path, index: str) -> None:
    journal = SqliteJournal.open(path)
    await accepted(journal)
    await journal.close()
    damage(path, index)
    damaged = SqliteJournal.open(path)
    with pytest.raises(JournalError, match=r"is damaged.*restore a backup"):
        await damaged.rehearse()
    await damaged.remember("a", "b", 1)  # what succeeds elsewhere doesn't make it ready
    assert damaged.failure
    assert damaged.failure.startswith(f"{path} is damaged")
    await damaged.close()


async def test_a_refused_event_keeps_the_journal_from_being_ready_until_it_can_be_stored(
    journal: SqliteJournal, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON executions WHEN new.id = 'unlucky'"
            " BEGIN SELECT raise(ABORT, 'a bad page'); END"
        )
        await journal.rehearse()
        with pytest.raises(JournalError):
            await journal.accept(trigger("unlucky"), "wait")
        await journal.accept(trigger("lucky"), "wait")
        assert journal.failure is not None
        with pytest.raises(JournalError, match="a bad page"):
            await journal.rehearse()
        other.execute("DROP TRIGGER refuse")
    await journal.rehearse()
    assert failure_of(journal) is None


async def test_a_rehearsal_stores_nothing(journal: SqliteJournal, path: Path) -> None:
    await accepted(journal)
    with closing(sqlite3.connect(path)) as other:
        before = list(other.iterdump())
        await journal.rehearse()
        assert list(other.iterdump()) == before
