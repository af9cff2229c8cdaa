"""The journal of the previous release: `schema_2.sql`, made a file."""

import sqlite3
from contextlib import closing
from pathlib import Path

STATEMENTS = Path(__file__).with_suffix(".sql")


def write_schema_2(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(STATEMENTS.read_text("utf-8"))
