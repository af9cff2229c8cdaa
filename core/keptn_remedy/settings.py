"""Every setting of the service, with its default, unit and reason."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from keptn_remedy.support import variables
from keptn_remedy.support.variables import CONFIG, FromVariables, SettingsError, build, names_of

PREFIX = "REMEDY_"

Port = Annotated[int, Field(ge=0, le=65535)]


def _split(names: Any) -> Any:
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(FromVariables):
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
    operator_token_file: Path | None = None
    """File with the bearer token, of at least 16 characters, that orders on the ops port need. It
    is read for each, so it may be replaced. Default: nothing can be changed through that port."""
    transport: Literal["distributor", "local"] = "distributor"
    """Where answers go: to Keptn's distributor, or nowhere (`local`: kept and shown)."""
    event_url: HttpUrl = HttpUrl("http://localhost:8081/event")
    """Where our events are taken: by the distributor, or at `/v1/event` of Keptn's API."""
    keptn_api: HttpUrl | None = None
    """Where Keptn is asked what it counted. Default: the origin of `REMEDY_EVENT_URL`, which is the
    sidecar's API proxy."""
    sweep: bool = True
    """Every minute take up what Keptn waits for and did not deliver. Needs Keptn 1.0, which tells
    what was answered."""
    watch_seconds: float = Field(default=5.0, gt=0)
    """Seconds between questions whether Keptn still waits for what is under way."""
    answer_lost: bool = False
    """Answer what was begun under our `REMEDY_SOURCE` and is not in the journal as errored. Only
    for a source that no other installation uses."""
    source: str = Field(default="keptn-remedy", pattern=r"^[A-Za-z0-9._~:/-]+$", max_length=200)
    """CloudEvents `source` of all we send. Keptn matches `finished` to `started` by it: change it
    only while no execution is open."""
    journal: Path = Path("var/journal.db")
    """The journal's file, on a local disk (not NFS)."""
    dry_run: bool = False
    """Plan and report, change nothing."""
    policy: Path | None = None
    """The policy file: when not to act (docs/guard-rails.md). It is read again when it changes.
    Default: the built-in rules."""
    pause_file: Path | None = None
    """While this file is there, nothing acts; its text is the reason. A key of a mounted ConfigMap
    will do. What says `false`, `no`, `off` or `0` doesn't pause."""
    answer_aborted: bool = False
    """Send `finished` also for an execution whose sequence was aborted, which Keptn ignores."""
    value_source: Literal["event", "remediation.yaml"] = "event"
    """Where an action's `value` comes from: the event, which Keptn merges with earlier rounds, or
    the entry of remediation.yaml, fetched from `REMEDY_KEPTN_API`."""
    max_concurrent: int = Field(default=100, ge=1, le=100_000)
    """Executions that run at once."""
    drain_seconds: float = Field(default=25.0, ge=2, le=3600)
    """Seconds from SIGTERM to exit; with the pod's `preStop` below its grace period, which the
    chart computes."""
    error_log: Literal["always", "auto", "never"] = "always"
    """When a failure is also sent as `sh.keptn.log.error`. `auto`: only where Keptn makes no entry
    of its own."""
    mirror_outcome: bool = True
    """Repeat the outcome in `data.action`, where Keptn's documentation expects it."""
    retention_days: float = Field(default=30.0, gt=0)
    """Days a finished execution is kept. A trigger delivered again after that runs again."""
    actions: Names = ()
    """Names of the actions to switch on, separated by commas. Default: all that are configured."""
    actions_dir: Path | None = None
    """Folder whose `*.py` files are searched for actions, but for `test_*.py` and `conftest.py`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is logged."""
    log_format: Literal["json", "console"] = "json"
    """`json`: one object a line; `console`: for people."""

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


class KeptnSettings(FromVariables):
    """What Keptn's own manifests set, under Keptn's names."""

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    keptn_api_token: SecretStr | None = None
    """Sent as `x-token` to `REMEDY_KEPTN_API` and `REMEDY_EVENT_URL`; the sidecar needs none."""
    project_filter: Names = ()
    """Projects whose triggers are taken up when they were not delivered, separated by commas; the
    distributor delivers those alone. Default: all."""
    stage_filter: Names = ()
    """The same for stages."""
    service_filter: Names = ()
    """The same for services."""


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of the process.

    Raises:
        SettingsError: with one line per mistake.
    """
    found = variables.read(environ)
    mistakes = _unknown(found)
    try:
        settings = build(Settings, PREFIX, found)
    except SettingsError as error:
        raise SettingsError(mistakes + error.mistakes) from None
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def _unknown(found: Mapping[str, str]) -> list[str]:
    own = set(names_of(Settings, PREFIX))
    known = own | {CONFIG} | {f"{name}_FILE" for name in own}
    lines: list[str] = []
    for name in sorted(found):
        if name.upper().startswith(PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            lines.append(f"{name}: there is no such setting; did you mean {nearest}?")
    return lines
