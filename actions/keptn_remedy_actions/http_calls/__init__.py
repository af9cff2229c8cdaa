"""What webhook consists of: calls as they are written, checked addresses, templates and files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_METHOD = re.compile(r"[A-Z]{1,20}")
_STATUS = re.compile(r"([1-5])xx|([1-5]\d\d)")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
# What belongs to the connection, and would contradict what is sent.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"})
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
LONGEST_SECONDS = 60.0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Expect(_Strict):
    """What an answer must be."""

    status: list[str] = Field(default=["2xx"], min_length=1)
    """Statuses such as 204 or 2xx."""
    json_values: dict[str, Any] = Field(default={}, alias="json")
    """Values that the body must have at JSONPaths, such as `$.state: done`."""

    @field_validator("status", mode="before")
    @classmethod
    def _read_status(cls, given: Any) -> list[str]:
        listed = cast("list[object]", given) if isinstance(given, list) else [given]
        statuses = [str(each).strip().lower() for each in listed]
        for status in statuses:
            if not _STATUS.fullmatch(status):
                raise ValueError(f"{status!r} is no status: write 204, or 2xx")
        return statuses

    @field_validator("json_values")
    @classmethod
    def _read_paths(cls, wanted: dict[str, Any]) -> dict[str, Any]:
        from keptn_remedy_actions.http_calls import json_path

        for path in wanted:
            json_path.read(path)
        return wanted

    def has(self, status: int) -> bool:
        return str(status) in self.status or f"{status // 100}xx" in self.status


class Hmac(_Strict):
    """A signature of the body, as a header."""

    secret: str = Field(min_length=1)
    """The name of the secret that holds the key."""
    header: str = "X-Hub-Signature-256"
    algorithm: Literal["sha256", "sha512"] = "sha256"
    prefix: str = "sha256="

    @field_validator("header")
    @classmethod
    def _named(cls, name: str) -> str:
        return checked_name(name)


class Call(_Strict):
    """One request; its texts are templates over the trigger."""

    method: str = "POST"
    url: str = Field(min_length=1)
    headers: dict[str, str] = {}
    body: Any = None
    """A text, or what is sent as JSON."""
    hmac: Hmac | None = None
    expect: Expect = Expect()
    timeout: float = Field(default=10.0, gt=0, le=LONGEST_SECONDS)
    """Seconds until the answer must be there."""

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, given: Any) -> str:
        method = str(given).strip().upper()
        if not _METHOD.fullmatch(method):
            raise ValueError(f"{given!r} is no method")
        return method

    @field_validator("headers", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        pairs = cast("Mapping[object, object]", given)
        return {checked_name(str(name)): _text(value) for name, value in pairs.items()}

    @model_validator(mode="after")
    def _templates_are_readable(self) -> Call:
        from keptn_remedy_actions.http_calls import templates

        templates.check_terms(self.texts())
        return self

    def texts(self) -> Iterator[str]:
        """All templates in it."""
        yield self.url
        yield from self.headers.values()
        yield from _texts_in(self.body)

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it twice has the effect of sending it once (RFC 9110 §9.2.2)."""
        return self.method in _REPEATABLE


class Check(Call):
    """A request that tells whether the effect holds; it is sent until it does."""

    method: str = "GET"
    seconds: float = Field(default=30.0, gt=0, le=240)
    """Seconds within which it must hold."""


def checked_name(name: str) -> str:
    """The name of a header.

    Raises:
        ValueError: it is none, or one that the connection itself needs.
    """
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} can't be set")
    return name


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _texts_in(value: Any) -> Iterator[str]:
    """The texts in JSON, without the keys of maps."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, Any]", value).values():
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in cast("Iterable[Any]", value):
            yield from _texts_in(item)
