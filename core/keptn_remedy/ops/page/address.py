"""Addresses of the page: which screen, what it is asked for, and filters as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from keptn_remedy.journal import RESULTS, Browsed, Cursor

SCREENS = (
    ("/", "Now"),
    ("/inbox", "Inbox"),
    ("/problems", "Problems"),
    ("/executions", "Executions"),
    ("/rails", "Rails"),
    ("/actions", "Actions"),
)
FILTERS = ("project", "stage", "service", "action", "result", "since")
MOST_CHARACTERS = 200
MOST_FIELDS = 20
WITHOUT_KEPTN = "/problems"
"""The screen that is there in standalone mode only."""
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class WrongFilter(ValueError):
    """A filter that can't be read; the text says why."""


class Address(NamedTuple):
    """A path of the page, and what stands behind its question mark."""

    path: str
    query: Mapping[str, str]

    def __str__(self) -> str:
        return self.path + (f"?{urlencode(self.query)}" if self.query else "")

    def with_(self, **others: str) -> str:
        """The same with other values; empty ones are left out."""
        wanted = {**self.query, **others}
        return str(Address(self.path, {name: value for name, value in wanted.items() if value}))


def local(text: str) -> str:
    """An address of this page; `/` for any that leads elsewhere."""
    if not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable():
        return "/"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    return text if not parts.scheme and not parts.netloc and "\\" not in text else "/"


def parsed(text: str) -> Address:
    """An address of this page, from its text."""
    parts = urlsplit(local(text))
    query = dict(parse_qsl(parts.query[:4096])[:MOST_FIELDS])
    return Address(parts.path, query)


def browsed(query: Mapping[str, str], now: float) -> tuple[Browsed, Cursor | None]:
    """What a list is asked for, and where its page begins.

    Raises:
        WrongFilter: a value can't be read.
    """
    given = {name: query.get(name, "").strip()[:MOST_CHARACTERS] or None for name in FILTERS}
    result = given["result"]
    if result is not None and result not in RESULTS:
        raise WrongFilter(f"Result is none of {', '.join(RESULTS)}.")
    found = Browsed(
        project=given["project"],
        stage=given["stage"],
        service=given["service"],
        action=given["action"],
        result=result,
        since=_since(given["since"], now),
    )
    return found, _before(query.get("before", ""))


def _since(written: str | None, now: float) -> float | None:
    if written is None:
        return None
    if ago := _AGO.fullmatch(written):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise WrongFilter(
            "Since is a time ago such as 30m, 2h or 3d, or a moment in UTC."
        ) from None


def _before(written: str) -> Cursor | None:
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) < 17):
        raise WrongFilter("This page is not there. Begin with the newest.")
    return Cursor(int(written))
