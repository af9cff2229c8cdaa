"""Where a journal is kept: in a file, or in a PostgreSQL database, told without its password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keptn_remedy.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A URL as libpq reads it, and a file that holds the password. As text it is what people are
    told.
    """

    url: str
    password_file: Path | None = None

    def __str__(self) -> str:
        _, _, rest = self.url.partition("://")
        return f"postgresql://{rest.partition('?')[0].rpartition('@')[2]}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


Place = Path | Address


def place_of(settings: Settings) -> Place:
    """The place that `REMEDY_JOURNAL` names."""
    if isinstance(settings.journal, Path):
        return settings.journal
    return Address(settings.journal.get_secret_value(), settings.journal_password_file)
