"""Keeps secret values out of whatever leaves the process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

MASK = "**********"
# Masking a shorter one would garble innocent text and hide nothing.
SHORTEST = 6


class Mask:
    """Replaces each of the secrets by asterisks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = [
            s for s in sorted(set(secrets), key=len, reverse=True) if len(s) >= SHORTEST
        ]
        self._bytes = [secret.encode() for secret in self._secrets]

    def text(self, text: str) -> str:
        """The text without secrets, and without what can't be written as UTF-8."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def line(self, line: bytes) -> bytes:
        """As `text`, for what is encoded already."""
        for secret in self._bytes:
            line = line.replace(secret, MASK.encode())
        return line

    def value(self, value: Any) -> Any:
        """As `text`, for every text inside maps and lists."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def secrets_of(settings: object) -> list[str]:
    """The secret values that a settings object holds."""
    if not isinstance(settings, BaseModel):
        return []
    found = []
    for _, value in settings:
        if isinstance(value, SecretStr):
            found.append(value.get_secret_value())
        elif isinstance(value, SecretBytes):
            found.append(value.get_secret_value().decode("utf-8", "replace"))
    return found
