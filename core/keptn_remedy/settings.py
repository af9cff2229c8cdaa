"""Every setting of the service, with its default, unit and reason; and how variables are read."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import yaml
from pydantic import AliasChoices, Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as PydanticSettingsError,
)

PREFIX = "REMEDY_"
CONFIG = "REMEDY_CONFIG"

S = TypeVar("S", bound=BaseSettings)
Port = Annotated[int, Field(ge=0, le=65535)]


class SettingsError(Exception):
    """The settings make no sense; `mistakes` has one line for each, without secret values."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class _FromVariables(BaseSettings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `build` reads the variables, of which the environment is only one source.
        return (init_settings,)


class Settings(_FromVariables):
    """The settings of the process. Variable names are `REMEDY_` and the field's name."""

    model_config = SettingsConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address of the event port. The sidecar shares our pod; nothing else may trigger actions."""
    port: Port = 8080
    """Event port; 8080 is what Keptn's distributor posts to."""
    ops_host: str = "127.0.0.1"
    """Address of the ops port: probes, metrics, API."""
    ops_port: Port = 8090
    """Ops port."""
    transport: Literal["distributor", "local"] = "distributor"
    """Where answers go: to Keptn's distributor, or nowhere (`local`: kept and shown)."""
    event_url: HttpUrl = HttpUrl("http://localhost:8081/event")
    """Where the distributor takes our events."""
    keptn_api: HttpUrl | None = None
    """Where Keptn is asked what it counted. Default: the origin of `REMEDY_EVENT_URL`, which is the
    sidecar's API proxy."""
    source: str = Field(default="keptn-remedy", pattern=r"^[A-Za-z0-9._~:/-]+$", max_length=200)
    """CloudEvents `source` of all we send. Keptn matches `finished` to `started` by it: change it
    only while no execution is open."""
    journal: Path = Path("var/journal.db")
    """The journal's file, on a local disk (not NFS)."""
    dry_run: bool = False
    """Plan and report, change nothing."""
    max_concurrent: int = Field(default=100, ge=1, le=100_000)
    """Executions that run at once."""
    drain_seconds: float = Field(default=25.0, ge=2, le=3600)
    """Seconds from SIGTERM to exit; below the pod's grace period (30)."""
    error_log: Literal["always", "auto", "never"] = "always"
    """When a failure is also sent as `sh.keptn.log.error`. `auto`: only where Keptn makes no entry
    of its own."""
    mirror_outcome: bool = True
    """Repeat the outcome in `data.action`, where Keptn's documentation expects it."""
    retention_days: float = Field(default=30.0, gt=0)
    """Days a finished execution is kept. A trigger delivered again after that runs again."""
    actions: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of the actions to switch on, separated by commas. Default: all that are configured."""
    actions_dir: Path | None = None
    """Folder whose `*.py` files are searched for actions, but for `test_*.py` and `conftest.py`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is logged."""
    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line; `console`: for people."""

    @field_validator("actions", mode="before")
    @classmethod
    def _split(cls, names: Any) -> Any:
        if isinstance(names, str):
            return tuple(name.strip() for name in names.split(",") if name.strip())
        return names

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: Any) -> Any:
        return level.lower() if isinstance(level, str) else level

    @property
    def control_plane_url(self) -> str:
        """Keptn's API without a trailing slash."""
        if self.keptn_api is not None:
            return str(self.keptn_api).rstrip("/")
        event_url = urlsplit(str(self.event_url))
        return f"{event_url.scheme}://{event_url.netloc}"


class KeptnSettings(_FromVariables):
    """What Keptn's own manifests set, under Keptn's names."""

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    keptn_api_token: SecretStr | None = None
    """Sent as `x-token` to `REMEDY_KEPTN_API`; the sidecar's proxy needs none."""


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """All variables: those of the file `REMEDY_CONFIG`, then the environment, which wins.

    Raises:
        SettingsError: the file can't be read or is no map of variable names.
    """
    path = environ.get(CONFIG)
    if not path:
        return dict(environ)
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError([f"{CONFIG}: can't read {path}: {_one_line(error)}"]) from None
    if content is not None and not isinstance(content, dict):
        raise SettingsError([f"{CONFIG}: {path} must be a map of variable names to values"])
    entries = cast("dict[object, object]", content or {})
    return {**{str(k): _as_variable(v) for k, v in entries.items()}, **environ}


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of the process.

    Raises:
        SettingsError: with one line per mistake.
    """
    found = variables(environ)
    mistakes = _unknown(found)
    try:
        settings = build(Settings, PREFIX, found)
    except SettingsError as error:
        raise SettingsError(mistakes + error.mistakes) from None
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def build(cls: type[S], prefix: str, found: Mapping[str, str]) -> S:
    """Settings of a class from variables; `<NAME>_FILE` names a file that holds the value.

    Raises:
        SettingsError: with one line per mistake, which name the variable and never its value.
    """
    # Manifests render what isn't configured as an empty value: empty is unset.
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
        raise SettingsError([f"{name}: a list or a map is written as JSON"]) from None


def _with_files(cls: type[BaseSettings], prefix: str, found: Mapping[str, str]) -> dict[str, str]:
    """Every `<NAME>_FILE` also as `<NAME>`, unless that is set itself."""
    complete = dict(found)
    mistakes: list[str] = []
    for name in variable_names(cls, prefix):
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


def variable_names(cls: type[BaseSettings], prefix: str) -> list[str]:
    """The variables that a class of settings reads."""
    return [name for field in cls.model_fields for name in _names(cls, prefix, field)]


def _names(cls: type[BaseSettings], prefix: str, field: str) -> list[str]:
    alias = cls.model_fields[field].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    aliases = [choice.upper() for choice in choices if isinstance(choice, str)]
    return aliases or [f"{prefix}{field.upper()}"]


def _unknown(found: Mapping[str, str]) -> list[str]:
    own = set(variable_names(Settings, PREFIX))
    known = own | {CONFIG} | {f"{name}_FILE" for name in own}
    lines: list[str] = []
    for name in sorted(found):
        if name.upper().startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            lines.append(f"{name}: there is no such setting; did you mean {nearest}?")
    return lines


def _mistake(cls: type[BaseSettings], prefix: str, error: Any) -> str:
    message: str = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    first, *others = map(str, error["loc"])
    return f"{'.'.join((_variable(cls, prefix, first), *others))}: {message}"


def _variable(cls: type[BaseSettings], prefix: str, place: str) -> str:
    """The variable that pydantic means by a field's name or alias."""
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
