"""What a NATS server asks for: read anew for each connection, so that files can be replaced."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nkeys  # type: ignore[import-untyped]
from nats.aio.client import RawCredentials

from keptn_remedy.settings import Settings
from keptn_remedy.support.variables import SettingsError

_SCHEMES = ("nats", "tls")
_OF_CREDENTIALS = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")


def options_of(settings: Settings, url: str) -> dict[str, Any]:
    """What nats-py's `connect` is given for the servers of a URL, or several with commas.

    Raises:
        SettingsError: an address is none, or a file doesn't hold what it should.
    """
    servers = [_server(each.strip()) for each in url.split(",") if each.strip()]
    if not servers:
        raise SettingsError(["PUBSUB_URL: there is no address in it"])
    password, token = settings.nats_password, settings.nats_token
    if (settings.nats_user is None) != (password is None):
        raise SettingsError(["REMEDY_NATS_USER and REMEDY_NATS_PASSWORD belong together"])
    credentials, seed = settings.nats_credentials_file, settings.nats_nkey_file
    is_encrypted = settings.nats_ca_file or any(each.startswith("tls://") for each in servers)
    return {
        "servers": servers,
        "name": settings.source,
        "user": settings.nats_user,
        "password": password.get_secret_value() if password else None,
        "token": token.get_secret_value() if token else None,
        "user_credentials": _credentials(credentials) if credentials else None,
        "nkeys_seed_str": _seed(seed) if seed else None,
        "tls": _tls(settings.nats_ca_file) if is_encrypted else None,
    }


def _server(address: str) -> str:
    url = address if "://" in address else f"nats://{address}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # What Python says of it may hold a part of the password.
        why = "its port is no number, or a character of the password must be %-encoded"
        raise SettingsError([f"PUBSUB_URL: an address of it is none: {why}"]) from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise SettingsError(["PUBSUB_URL: an address must look like nats://HOST:PORT or tls://…"])
    return url


def _credentials(path: Path) -> RawCredentials:
    text = _read("REMEDY_NATS_CREDENTIALS_FILE", path)
    lines = text.splitlines()
    parts = [_after(each, lines) for each in _OF_CREDENTIALS]
    if not parts[0] or not _is_seed(parts[1]):
        raise SettingsError(
            [f"REMEDY_NATS_CREDENTIALS_FILE: {path} doesn't hold a user's JWT and seed"]
        )
    return RawCredentials(text)


def _after(heading: str, lines: list[str]) -> str:
    """The line after the heading; empty where there is none."""
    at = next((number for number, line in enumerate(lines) if heading in line), len(lines))
    return "".join(lines[at + 1 : at + 2]).strip()


def _seed(path: Path) -> str:
    text = _read("REMEDY_NATS_NKEY_FILE", path).strip()
    if not _is_seed(text):
        raise SettingsError([f"REMEDY_NATS_NKEY_FILE: {path} doesn't hold a user's seed (SU…)"])
    return text


def _is_seed(text: str) -> bool:
    try:
        seed = bytearray(text.encode())
        nkeys.from_seed(seed).wipe()  # pyright: ignore[reportUnknownMemberType]
    except (nkeys.NkeysError, ValueError):
        return False
    return text.startswith("SU")


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        why = f"{ca_file} doesn't hold certificates in PEM form"
    except OSError as error:
        why = f"can't read {ca_file}: {error.strerror}"
    raise SettingsError([f"REMEDY_NATS_CA_FILE: {why}"])


def _read(variable: str, path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        why = str(error.strerror)
    except UnicodeDecodeError:
        why = "it is no text"
    raise SettingsError([f"{variable}: can't read {path}: {why}"])
