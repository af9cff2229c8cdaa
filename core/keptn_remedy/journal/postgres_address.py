"""What libpq is told of a journal's address: hosts, password, and TLS that is verified."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.errors import JournalUnusable

CONNECT_SECONDS = 5
_LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")


def hosts(address: Address) -> list[dict[str, Any]]:
    """What libpq is told of each host, in their order. The password is read each time.

    Raises:
        JournalUnusable: the URL is none, or the password can't be read.
    """
    given: dict[str, Any] = {"application_name": "keptn-remedy", **_given(address)}
    given.setdefault("connect_timeout", CONNECT_SECONDS)
    if address.password_file is not None:
        given["password"] = _password(address.password_file)
    given |= _verified(given)
    names = ("host", "hostaddr", "port")
    lists = {name: str(given[name]).split(",") for name in names if given.get(name)}
    many = max((len(found) for found in lists.values()), default=1)
    return [given | {n: found[i % len(found)] for n, found in lists.items()} for i in range(many)]


def _given(address: Address) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(address.url))
    except psycopg.Error:
        # What libpq says of it may hold the password.
        raise JournalUnusable("REMEDY_JOURNAL is no URL that PostgreSQL knows") from None


def _password(file: Path) -> str:
    try:
        return file.read_text().strip("\r\n")
    except OSError as error:
        raise JournalUnusable(
            f"can't read REMEDY_JOURNAL_PASSWORD_FILE {file}: {error.strerror}"
        ) from error
    except UnicodeDecodeError:
        raise JournalUnusable(f"REMEDY_JOURNAL_PASSWORD_FILE {file} is no text") from None


def _verified(given: dict[str, Any]) -> dict[str, Any]:
    """TLS with a certificate that is checked, unless the URL or libpq's environment says otherwise
    or the server is on this machine.
    """
    if "sslmode" in given or "PGSSLMODE" in os.environ or "service" in given:
        return {}
    hosts = str(given.get("host") or os.environ.get("PGHOST", "")).split(",")
    if all(host in _LOCAL_HOSTS or host.startswith(("/", "@")) for host in hosts):
        return {}
    found = {"sslmode": "verify-full"}
    if "sslrootcert" not in given and "PGSSLROOTCERT" not in os.environ:
        found["sslrootcert"] = ssl.get_default_verify_paths().cafile or "system"
    return found
