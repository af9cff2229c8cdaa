"""Reads settings from the environment, from a file of variables, and from files with one value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import AliasChoices, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
)
from pydantic_settings import SettingsError as PydanticSettingsError

from keptn_remedy.support import validation
from keptn_remedy.support.reading import Document, DocumentError

CONFIG = "REMEDY_CONFIG"

S = TypeVar("S", bound=BaseSettings)


class SettingsError(Exception):
    """The settings are invalid. `mistakes` has one line for each mistake, without secret values."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class FromVariables(BaseSettings):
    """Settings that take their values from arguments alone; `build` reads the variables."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use no source but the arguments."""
        return (init_settings,)


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """All variables: those in the file `REMEDY_CONFIG`, overridden by the environment.

    Raises:
        SettingsError: the file can't be read, has a name twice, or isn't a map of variable names
            to values.
    """
    return {**in_file(environ).values, **environ}


class InFile(NamedTuple):
    """The variables in the file that `REMEDY_CONFIG` names, and the line of each."""

    path: str
    values: dict[str, str]
    lines: dict[str, int]

    def place(self, name: str) -> str:
        """Where the variable is set, for messages."""
        return f"{CONFIG}: {self.path}, line {self.lines[name]}"


def in_file(environ: Mapping[str, str]) -> InFile:
    """The file that `REMEDY_CONFIG` names, if any.

    Raises:
        SettingsError: as `read`.
    """
    path = environ.get(CONFIG, "")
    if not path:
        return InFile(path, {}, {})
    try:
        document = Document(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{CONFIG}: can't read {path}: {_one_line(error)}"]) from None
    except DocumentError as error:
        mistakes = [f"{CONFIG}: {path}: {mistake}" for mistake in error.mistakes]
        raise SettingsError(mistakes) from None
    if document.value is not None and not document.is_map:
        raise SettingsError([f"{CONFIG}: {path} must be a map of variable names to values"])
    entries = cast("dict[str, object]", document.value or {})
    values = {name: _as_variable(value) for name, value in entries.items()}
    return InFile(path, values, {name: document.line([name]) for name in entries})


def build(cls: type[S], prefix: str, found: Mapping[str, str]) -> S:
    """Make settings from variables. `<NAME>_FILE` names a file that holds the value.

    Raises:
        SettingsError: with one line per mistake, which names the variable and not its value.
    """
    # Manifests render an unset value as an empty one: empty counts as unset.
    source = EnvSettingsSource(cls, env_prefix=prefix, env_ignore_empty=True)
    complete = _with_files(cls, prefix, found)
    source.env_vars = {name.lower(): v for name, v in complete.items() if v and name.isupper()}
    try:
        return cls(**source())
    except ValidationError as error:
        raise SettingsError([_mistake(cls, prefix, e) for e in error.errors()]) from None
    except PydanticSettingsError as error:  # a list or map that is not JSON
        field = re.search(r'field "(\w+)"', str(error))
        name = _variable(cls, prefix, field[1]) if field else prefix
        raise SettingsError([f"{name}: must be JSON, as it is a list or a map"]) from None


def _with_files(cls: type[BaseSettings], prefix: str, found: Mapping[str, str]) -> dict[str, str]:
    """The variables, with `<NAME>` read from `<NAME>_FILE` where only that is set."""
    complete = dict(found)
    mistakes: list[str] = []
    for name in names_of(cls, prefix):
        path = found.get(f"{name}_FILE")
        if path and not found.get(name):
            try:
                complete[name] = Path(path).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                mistakes.append(f"{name}_FILE: can't read {path}: {reason}")
    if mistakes:
        raise SettingsError(mistakes)
    return complete


def names_of(cls: type[BaseSettings], prefix: str) -> list[str]:
    """The variables that a class of settings reads."""
    return [name for field in cls.model_fields for name in _names(cls, prefix, field)]


def _names(cls: type[BaseSettings], prefix: str, field: str) -> list[str]:
    alias = cls.model_fields[field].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    aliases = [choice.upper() for choice in choices if isinstance(choice, str)]
    return aliases or [f"{prefix}{field.upper()}"]


def _mistake(cls: type[BaseSettings], prefix: str, error: Any) -> str:
    message = "must be set" if error["type"] == "missing" else validation.in_words(error)
    if not error["loc"]:
        return message
    first = str(error["loc"][0])
    others = validation.place({**error, "loc": error["loc"][1:]}, None)
    return f"{'.'.join((_variable(cls, prefix, first), *others))}: {message}"


def _variable(cls: type[BaseSettings], prefix: str, place: str) -> str:
    """The variable of a field, which pydantic names by field or alias."""
    if place in cls.model_fields:
        return _names(cls, prefix, place)[0]
    return place.upper()


def _as_variable(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        items = cast("list[object]", value)
        if not any(isinstance(item, list | dict) for item in items):
            return ",".join(map(str, items))
    if isinstance(value, list | dict):
        return json.dumps(value)
    return "" if value is None else str(value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
