"""Whether something between this process and PostgreSQL loses what sessions rely on."""

from __future__ import annotations

import secrets
from contextlib import closing

import psycopg

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.postgres_address import hosts
from keptn_remedy.journal.postgres_waking import CHANNEL, LISTEN

HEAR_SECONDS = 2.0
# Nobody listens for it, and no setting of the journal is called so.
_NAME = "keptn_remedy.probe"
_SET = f"SELECT set_config('{_NAME}', $1, false)"
_IS_SET = f"SELECT coalesce(current_setting('{_NAME}', true), '')"

Session = psycopg.Connection[tuple[str]]


def what_a_pooler_loses(address: Address) -> list[str]:
    """What is lost on the way to the database; empty where every connection has a session of its
    own.

    Raises:
        JournalUnusable: the database doesn't answer.
    """
    refusal = ""
    for parameters in hosts(address):
        try:
            return _lost(parameters)
        except psycopg.Error as error:  # as of a host that is away, or a standby
            refusal = " ".join(str(error).split())
    raise JournalUnusable(f"{address}: {refusal}")


def _lost(parameters: dict[str, object]) -> list[str]:
    with closing(_connected(parameters)) as ours, closing(_connected(parameters)) as other:
        lost = [] if _keeps_settings(ours, other) else ["session settings"]
        return lost if _hears(ours, other) else [*lost, "NOTIFY"]


def _connected(parameters: dict[str, object]) -> Session:
    return psycopg.connect(
        **parameters,  # type: ignore[arg-type]  # as libpq names them
        autocommit=True,
        prepare_threshold=None,
        cursor_factory=psycopg.RawCursor,
    )


def _keeps_settings(ours: Session, other: Session) -> bool:
    """Behind a pooler one session serves several in turn: what one has set, another one finds."""
    token = secrets.token_hex(8)
    ours.execute(_SET, (token,))
    found = [each.execute(_IS_SET).fetchall() for each in (other, ours)]
    for each in (ours, other):
        each.execute(_SET, ("",))
    return found == [[("",)], [(token,)]]


def _hears(ours: Session, other: Session) -> bool:
    word = f"probe {secrets.token_hex(8)}"
    ours.execute(LISTEN)
    other.execute("SELECT pg_notify($1, $2)", (CHANNEL, word))
    heard = any(each.payload == word for each in ours.notifies(timeout=HEAR_SECONDS))
    ours.execute(f"UNLISTEN {CHANNEL}")
    return heard
