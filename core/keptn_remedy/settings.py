"""The settings of the service, with their defaults, units and reasons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from keptn_remedy.support import variables
from keptn_remedy.support.link_templates import mistake as link_mistake
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import (
    CONFIG,
    FromVariables,
    InFile,
    SettingsError,
    build,
    names_of,
)

PREFIX = "REMEDY_"
IN_CLUSTER_API = "http://api-gateway-nginx/api"

Port = Annotated[int, Field(ge=0, le=65535)]


def _split(names: Any) -> Any:
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return names


def _split_words(words: Any) -> Any:
    return _split(",".join(words.split())) if isinstance(words, str) else words


_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def _seconds(written: Any) -> Any:
    if isinstance(written, str) and (found := re.fullmatch(r"(\d{1,6})([smhd])", written.strip())):
        return int(found[1]) * _UNITS[found[2]]
    return written


# A URL, a name with a password before an @, or libpq's list of words.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/|file:|.*:[^/]*@|.*\bpassword *=", re.IGNORECASE)


def _no_address(path: Any) -> Any:
    # The value may hold a password: it is not repeated.
    if isinstance(path, str) and _ADDRESS.match(path):
        raise ValueError("must be a path on the local disk, not an address")
    return path


LocalPath = Annotated[Path, BeforeValidator(_no_address)]


def _file_or_database(place: Any) -> Any:
    if isinstance(place, str) and place.startswith(("postgresql://", "postgres://")):
        return SecretStr(place)  # it may hold a password
    if isinstance(place, str) and _ADDRESS.match(place):
        raise ValueError("must be a path on the local disk, or a URL that begins postgresql://")
    return Path(place) if isinstance(place, str) else place


JournalPlace = Annotated[Path | SecretStr, BeforeValidator(_file_or_database)]

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_words)]


class Settings(FromVariables):
    """The settings of the process, each read from `REMEDY_` and the field's name in capitals."""

    model_config = SettingsConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address of the event port. On loopback only the sidecar in our pod can trigger actions."""
    port: Port = 8080
    """Event port. Keptn's distributor posts to 8080."""
    ops_host: str = "127.0.0.1"
    """Address of the ops port, which serves probes, metrics and the API."""
    ops_port: Port = 8090
    """Ops port."""
    host_names: Names = ()
    """Names besides `localhost` under which a port on loopback may be called, separated by commas.
    Requests for other names, or from pages of other sites, are refused (DNS rebinding)."""
    operator_token_file: LocalPath | None = None
    """File with the bearer token that orders on the ops port must carry, at least 16 characters.
    It is read for each order, so it can be replaced at any time. Default: the ops port takes no
    orders."""
    agent_token_file: LocalPath | None = None
    """File with the bearer token of agents, who ask on the ops port's path `/mcp`
    (docs/agents.md). It must not be the operators' token. Default: no agent may ask."""
    operators_file: LocalPath | None = None
    """File with the people who may sign in on the page, as `remedy operators add` writes it: name,
    role (`viewer`, `approver`, `operator`) and the hash of a token. It is read again when it
    changes. Default: only the operator token, if there is one, signs in."""
    page_public: bool = False
    """Let everybody who reaches the ops port read the page without signing in. Orders need a
    sign-in all the same. In local mode the default is `true`."""
    link_bridge: str | None = None
    """Address of an execution in Keptn's Bridge, shown with it on the page. `{project}`, `{stage}`,
    `{service}`, `{action}`, `{context}` and `{id}` are filled in, as in
    `https://keptn.example/bridge/project/{project}/sequence/{context}`."""
    link_alert: str | None = None
    """The same for the alert behind it."""
    link_dashboard: str | None = None
    """The same for a dashboard of the service."""
    transport: Literal["distributor", "nats", "polling", "local", "standalone"] = "distributor"
    """How events come and reports go: `distributor` by HTTP to and from Keptn's, `nats` straight to
    the NATS server that `PUBSUB_URL` names, `polling` by Keptn's API at `KEPTN_API_ENDPOINT`, from
    any network, `local` by HTTP, with reports only shown. `standalone` needs no Keptn: problems
    come in on the intake port (docs/standalone.md)."""
    nats_queue: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$", max_length=200)
    """Queue group whose members share the events, and name of the durable consumer. Default: the
    source's name."""
    nats_stream: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$", max_length=200)
    """Stream that holds the triggers, such as `keptn`. They come from a durable consumer of it, so
    none is lost while nobody listens. Default: a plain subscription, with a sweep for what it
    loses."""
    nats_user: str | None = None
    """User at the NATS server."""
    nats_password: SecretStr | None = None
    """The user's password."""
    nats_token: SecretStr | None = None
    """Token for the NATS server, where it asks for one."""
    nats_nkey_file: LocalPath | None = None
    """File with the seed of an NKey."""
    nats_credentials_file: LocalPath | None = None
    """File with user JWT and seed, as `nsc` writes it."""
    nats_ca_file: LocalPath | None = None
    """Certificates that the NATS server's must descend from. Default: those of the system. TLS is
    used with `tls://` in `PUBSUB_URL`, or where the server demands it."""
    event_url: HttpUrl = HttpUrl("http://localhost:8081/event")
    """Where reports are posted: to the distributor, or to `/v1/event` of Keptn's API."""
    keptn_api: HttpUrl | None = None
    """Keptn's API, which is asked for open tasks, counted reports and files. Default: the origin of
    `REMEDY_EVENT_URL`, where the sidecar proxies the API; with NATS `http://api-gateway-nginx/api`;
    with polling `KEPTN_API_ENDPOINT`."""
    keptn_ca_file: LocalPath | None = None
    """Certificates that may also vouch for Keptn's API and its login, besides the system's. For
    `REMEDY_TRANSPORT=polling`."""
    resources_dir: LocalPath | None = None
    """Folder whose files stand for those that Keptn holds, where there is no Keptn: in local mode
    and for `remedy try`."""
    finished_after_seconds: float = Field(default=1.0, ge=0, le=60)
    """Seconds between Keptn's acknowledgement of `started` and our `finished`. Keptn may count one
    that follows sooner before `started`, and then loses its message. Local mode doesn't wait."""
    sweep: bool = True
    """Every minute accept triggers that Keptn waits for and didn't deliver. Needs Keptn 0.18 or
    newer, whose API shows which reports it counted."""
    watch_seconds: float = Field(default=5.0, gt=0)
    """Seconds between checks whether Keptn still waits for the open executions."""
    stale_after: Annotated[float, Field(gt=0), BeforeValidator(_seconds)] = 600.0
    """Age from which an execution is refused if Keptn can't be asked whether it still waits for it:
    seconds, or `10m`, `2h`, `1d`. Asked are those that an earlier process left, that are older than
    30 seconds when they begin, or that waited for an approval or their turn. The default is the
    time that Keptn itself waits for a `started`."""
    answer_lost: bool = False
    """Finish executions as errored that `REMEDY_SOURCE` started and that the journal doesn't know.
    Only for a source that no other installation uses."""
    source: str = Field(default="keptn-remedy", pattern=r"^[A-Za-z0-9._~:/-]+$", max_length=200)
    """CloudEvents `source` of all reports. Keptn matches `finished` to `started` by it: change it
    only while no execution is open."""
    journal: JournalPlace = Path("var/journal.db")
    """The journal's file, on a local disk, not on NFS; or `postgresql://user@host/database`, as
    libpq reads it (docs/postgres.md)."""
    journal_password_file: LocalPath | None = None
    """The password of the journal's database. The file is read for each connection."""
    lease: Annotated[float, Field(ge=2, le=300), BeforeValidator(_seconds)] = 5.0
    """For how long what a replica has stays its own if it can't renew its lease: seconds, or `10s`,
    `1m`. What a replica that was killed had is taken up by others after that. For a journal on
    PostgreSQL; all replicas need the same (docs/postgres.md)."""
    dry_run: bool = False
    """Plan and report without changing anything."""
    intake_host: str = "127.0.0.1"
    """Address of the intake port, on which problems come in without Keptn. For
    `REMEDY_TRANSPORT=standalone`, as are the three below."""
    intake_port: Port = 8070
    """Intake port."""
    sources: LocalPath = Path("sources.yaml")
    """The file that says where problems come from, and how remedies are judged
    (docs/standalone.md). It is read again when it changes."""
    remediations: LocalPath = Path("remediations")
    """The folder with a remediation.yaml for each project, stage or service."""
    policy: LocalPath | None = None
    """The policy file, which says when not to act (docs/guard-rails.md). It is read again when it
    changes. Default: the built-in rules."""
    channels: LocalPath | None = None
    """The channels file: where people are told what needs them (docs/notifications.md). It is read
    at the start; the secrets it names are read whenever they are used."""
    notify: Names = ()
    """Who is told, where no rule of the policy says so: names of channels, separated by commas,
    each perhaps with what it is told: `slack,pager:approval+suspended`. Default: all channels are
    told everything."""
    page_url: HttpUrl | None = None
    """Address of the ops port for people, such as `https://remedy.example`: notifications link to
    it. Default: they hold no links."""
    pause_file: LocalPath | None = None
    """While this file exists, every action is refused, with its text as the reason. It may be a key
    of a mounted ConfigMap. A file that says `false`, `no`, `off` or `0` doesn't pause."""
    answer_aborted: bool = False
    """Send `finished` also for aborted executions. Keptn ignores it."""
    value_source: Literal["event", "remediation.yaml"] = "event"
    """Where an action's `value` comes from: the event, into which Keptn merges earlier rounds, or
    the entry of the newest remediation.yaml, fetched through `REMEDY_KEPTN_API`."""
    max_concurrent: int = Field(default=100, ge=1, le=100_000)
    """The most executions that run at the same time."""
    drain_seconds: float = Field(default=25.0, ge=2, le=3600)
    """Seconds from SIGTERM to exit. Together with the pod's `preStop` they must be below its grace
    period; the chart sees to that."""
    error_log: Literal["always", "auto", "never"] | None = None
    """When a failure is also sent as `sh.keptn.log.error`. With `auto` only where Keptn itself logs
    nothing. Default: `auto` where a distributor takes the reports, which logs errored executions by
    itself; else `always`."""
    keptn_dialect: Literal["auto", "0.7"] = "auto"
    """`0.7` for that release of Keptn: every report is a CloudEvent 0.2 with the outcome in
    `data.action` alone, and Keptn is asked about nothing, as it shows no tasks. `auto` answers each
    trigger in its own version."""
    mirror_outcome: bool = True
    """Repeat the outcome in `data.action`, where Keptn's documentation puts it."""
    retention_days: float = Field(default=30.0, gt=0)
    """Days to keep finished executions. A trigger that is delivered again after that runs again."""
    actions: Names = ()
    """Names of the actions to switch on, separated by commas. Default: every configured action."""
    aliases: Names = ()
    """Further names of actions, as `NAME=ACTION`, separated by commas: `hello=run-job`. So files of
    the job-executor and the generic-executor keep the names that their `remediation.yaml` has."""
    actions_dir: LocalPath | None = None
    """Folder with actions of your own: its `*.py` files except `test_*.py` and `conftest.py`. They
    are refused if users other than root and the service's own may write them."""
    trust_actions_dir: bool = False
    """Load the files of `REMEDY_ACTIONS_DIR` even if other users may write them."""
    strict_actions: bool = False
    """Don't start (exit code 2) if an action can't be loaded. Default: it is left out, `/readyz`
    is degraded, and the other actions work."""
    traces: bool = False
    """Send a trace of each execution to an OpenTelemetry collector, over OTLP with HTTP. Where it
    is, and what it needs, OpenTelemetry's own variables say, such as
    `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs the extra `keptn-remedy[otel]`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are logged."""
    log_format: Literal["json", "console"] = "json"
    """`json` for one object per line, `console` for people."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: Any) -> Any:
        return level.lower() if isinstance(level, str) else level

    @field_validator("link_bridge", "link_alert", "link_dashboard")
    @classmethod
    def _template(cls, template: str | None) -> str | None:
        if template and (wrong := link_mistake(template)):
            raise ValueError(wrong)
        return template

    @property
    def links(self) -> dict[str, str]:
        """The templates of links, by the words under which the page shows them."""
        named = {
            "Bridge": self.link_bridge,
            "Alert": self.link_alert,
            "Dashboard": self.link_dashboard,
        }
        return {words: template for words, template in named.items() if template}

    @property
    def held_seconds(self) -> float:
        """For how long `finished` is held back after `started` was acknowledged."""
        is_alone = self.transport in ("local", "standalone")
        return 0.0 if is_alone else self.finished_after_seconds

    @property
    def nats_queue_name(self) -> str:
        """The queue group; NATS allows neither dots nor slashes in a consumer's name."""
        return self.nats_queue or re.sub(r"[^A-Za-z0-9_-]", "-", self.source)

    @property
    def control_plane_url(self) -> str:
        """The address of Keptn's API, without a trailing slash."""
        if self.keptn_api is not None:
            return str(self.keptn_api).rstrip("/")
        if self.transport == "nats":
            return IN_CLUSTER_API
        event_url = urlsplit(str(self.event_url))
        return f"{event_url.scheme}://{event_url.netloc}"

    @property
    def logs_errors(self) -> Literal["always", "auto", "never"]:
        """`error_log`, or its default (docs/keptn.md#k27)."""
        is_api = (self.event_url.path or "").rstrip("/").endswith("/v1/event")
        makes_entries = self.transport == "distributor" and not is_api
        wanted = self.error_log or "auto"
        return wanted if makes_entries or wanted != "auto" else "always"


class KeptnSettings(FromVariables):
    """Settings with Keptn's own variable names, as Keptn's manifests set them."""

    model_config = SettingsConfigDict(
        extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    keptn_api_endpoint: HttpUrl | None = None
    """Keptn's API for `REMEDY_TRANSPORT=polling`, such as `https://keptn.example/api`."""
    keptn_api_token: SecretStr | None = None
    """Sent as `x-token` to Keptn's API and `REMEDY_EVENT_URL`. A sidecar needs none."""
    keptn_api_token_file: LocalPath | None = None
    """File with that token. It is read again when Keptn's API refuses the token, so the token can
    be replaced at any time."""
    http_polling_interval: float = Field(default=10.0, ge=0.1, le=600)
    """Seconds between two looks for open triggers, for `REMEDY_TRANSPORT=polling`."""
    http_ssl_verify: bool = True
    """Whether the certificate of Keptn's API is checked, for `REMEDY_TRANSPORT=polling`. Where not,
    anybody on the way can read the token and send triggers; the log and `/readyz` say so."""
    oauth_client_id: str | None = None
    """Client at the identity provider before Keptn, for `REMEDY_TRANSPORT=polling`. Its access
    token is sent beside `x-token`, if there is one."""
    oauth_client_secret: SecretStr | None = None
    """The client's secret."""
    oauth_client_secret_file: LocalPath | None = None
    """File with that secret, read again when it is refused."""
    oauth_scopes: Words = ()
    """Scopes to ask for, separated by commas or spaces."""
    oauth_discovery: HttpUrl | None = None
    """The provider's discovery document, which names its token endpoint."""
    oauth_token_url: HttpUrl | None = None
    """The token endpoint itself. It wins over the discovery document."""
    resource_service: HttpUrl | None = None
    """Keptn's own resource-service, such as `http://resource-service:8080` inside its cluster; it
    asks for no token. Default: files are read through Keptn's API."""
    pubsub_url: str = "nats://keptn-nats"
    """Keptn's NATS servers, separated by commas, for `REMEDY_TRANSPORT=nats`."""
    k8s_deployment_name: str = ""
    """Name under which Keptn's Bridge lists the provider, with NATS and polling. Default:
    `REMEDY_SOURCE`. Those of one name and namespace share one registration."""
    k8s_namespace: str = Field(default="default", min_length=1)
    """Namespace of that registration."""
    k8s_pod_name: str = ""
    """The pod that the Bridge shows."""
    k8s_node_name: str = ""
    """The node that the Bridge shows. Default: the host's name."""
    location: str = ""
    """The location that the Bridge shows. Default: `control-plane`, with polling
    `remote-execution-plane`."""
    project_filter: Names = ()
    """Projects whose undelivered triggers are accepted, separated by commas. The distributor has
    the same filter for those that it delivers. With NATS and polling it counts for all triggers,
    until Keptn's Bridge says otherwise. Default: all."""
    stage_filter: Names = ()
    """The same for stages."""
    service_filter: Names = ()
    """The same for services."""


class CommandSettings(FromVariables):
    """Settings of commands that read or order; the service ignores them."""

    model_config = SettingsConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    server: HttpUrl | None = None
    """Ops port of a running service, such as `http://127.0.0.1:8090`. Commands ask it, and give it
    their orders, instead of opening the journal. The option `--server` wins over it."""
    token: SecretStr | None = None
    """The token for that service: the agents' for `remedy mcp`, else an operator's. The option
    `--token-file` wins over `REMEDY_TOKEN_FILE`.
    """


def load(environ: Mapping[str, str]) -> Settings:
    """The settings of the process.

    Raises:
        SettingsError: with one line per mistake.
    """
    found, in_file = variables.read(environ), variables.in_file(environ)
    mistakes = _unknown(found, in_file)
    try:
        settings = build(Settings, PREFIX, found)
    except SettingsError as error:
        raise SettingsError(mistakes + error.mistakes) from None
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def _unknown(found: Mapping[str, str], in_file: InFile) -> list[str]:
    own = set(names_of(Settings, PREFIX))
    own |= set(names_of(CommandSettings, PREFIX))
    known = own | {CONFIG} | {f"{name}_FILE" for name in own}
    lines: list[str] = []
    for name in sorted(found):
        if name.upper().startswith(PREFIX) and name not in known:
            place = f"{in_file.place(name)}: " if name in in_file.lines else ""
            meant = near(name, known, similar=0.0)
            lines.append(f"{place}{name}: there is no such setting{meant}")
    return lines
