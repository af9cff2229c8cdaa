"""Replaces secret values in everything that leaves the process."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr

MASK = "**********"
# A shorter secret also occurs in ordinary text: masking it would garble that and hide nothing.
SHORTEST = 6
# Of secrets that replace each other: requests with the one before may still be under way.
PASSING = 2


class Mask:
    """Replaces each secret with asterisks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._kept: set[str] = set()
        self._passing: deque[str] = deque(maxlen=PASSING)
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Also replace these from now on; those shorter than `SHORTEST` characters are left out."""
        self._kept |= _forms(secrets)
        self._put_in_order()

    def hide_passing(self, secret: str) -> None:
        """Also replace this one until two others have come, such as an access token."""
        if secret not in self._passing:
            self._passing.append(secret)
            self._put_in_order()

    def text(self, text: str) -> str:
        """The text without secrets, and with `?` for what UTF-8 can't encode."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def line(self, line: bytes) -> bytes:
        """As `text`, for encoded text."""
        for secret in self._bytes:
            line = line.replace(secret, MASK.encode())
        return line

    def value(self, value: Any) -> Any:
        """As `text`, for every text in a JSON value, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value)
            return {self.text(str(key)): self.value(item) for key, item in entries.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in cast("Iterable[object]", value)]
        return value

    def _put_in_order(self) -> None:
        """The longest first: a shorter one may be inside it."""
        forms = self._kept | _forms(self._passing)
        self._secrets = sorted(forms, key=len, reverse=True)
        self._bytes = [form.encode("utf-8", "replace") for form in self._secrets]


def _forms(secrets: Iterable[str]) -> set[str]:
    """The secrets as they are and as `repr` writes them in errors, each also as JSON escapes it."""
    long = [secret for secret in secrets if len(secret) >= SHORTEST]
    plain = {*long, *(repr(secret)[1:-1] for secret in long)}
    return plain | {json.dumps(form, ensure_ascii=False)[1:-1] for form in plain}


def secrets_of(settings: object) -> list[str]:
    """The secret values in a settings object; a list in one value also item by item."""
    found = list(_secrets_in(settings))
    return found + [part for secret in found for part in secret.replace(",", " ").split()]


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode("utf-8", "replace")
    elif isinstance(value, AnyUrl) and value.password:
        yield value.password
        yield unquote(value.password)
    elif isinstance(value, BaseModel):
        for _, item in value:
            yield from _secrets_in(item)
    elif isinstance(value, Mapping):
        for item in cast("Mapping[object, object]", value).values():
            yield from _secrets_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in cast("Iterable[object]", value):
            yield from _secrets_in(item)
