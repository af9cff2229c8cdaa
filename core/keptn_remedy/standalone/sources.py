"""sources.yaml: where problems come from, what they map to, and how remedies are judged."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from keptn_remedy.guardrails import mistakes
from keptn_remedy.guardrails.values import Count, Duration, Globs, Many, Name, Positive
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.standalone.rules import LadderRules, OnFailed, OnUnknown
from keptn_remedy.support.near_names import near

SourceKind = Literal["alertmanager", "grafana", "dynatrace", "cloudevents", "pagerduty"]
DEFAULTS = LadderRules()


def _path(written: Any) -> Any:
    return Path(written) if isinstance(written, str) else written


FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]


class _Entry(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class PlaceRule(_Entry):
    """Where a project, stage or service is read from: the first of these labels that an alert has,
    or a fixed value.
    """

    label: Name | None = None
    """The label."""
    labels: Annotated[tuple[Name, ...], Many, Field(max_length=50)] = ()
    """Several labels; the first one that an alert has counts."""
    default: Name | None = None
    """What holds for alerts without such a label."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.label and not self.labels and self.default is None:
            raise ValueError("needs a label, labels or a default")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, in the order of looking."""
        return (*([self.label] if self.label else []), *self.labels)


class Allow(_Entry):
    """The places that a source may name; whoever writes a label is held to them."""

    projects: Globs
    """Projects, as globs."""
    stages: Globs = ("*",)
    """Stages, as globs."""
    services: Globs = ("*",)
    """Services, as globs."""


class PrometheusServer(_Entry):
    """The Prometheus that the judge asks, or several: then each is asked, and nothing has helped
    unless all say so.
    """

    url: HttpUrl | None = None
    """Its address, with the path before `/api/v1`, if there is one."""
    urls: Annotated[tuple[HttpUrl, ...], Many, Field(max_length=10)] = ()
    """The addresses of several."""
    token_file: FilePath | None = None
    """File with a bearer token for it."""
    max_age: Positive = 60.0
    """How old the newest sample of what is asked may be."""

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if (self.url is None) == (not self.urls):
            raise ValueError("give either url or urls")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that are asked."""
        return tuple(map(str, self.urls or ([self.url] if self.url else ())))


class Source(_Entry):
    """Somebody who tells problems: one path of the intake port, with a secret of its own."""

    kind: SourceKind
    """What its messages look like."""
    secret_file: FilePath
    """File with the secret that every message must carry, at least 16 characters, as
    `Authorization: Bearer`. It is read again when it changes."""
    signature_header: Name | None = None
    """The header with the HMAC-SHA-256 of the body, in hex, such as X-Grafana-Alerting-Signature.
    Then the messages are signed with the secret instead of carrying it."""
    timestamp_header: Name | None = None
    """The header with the Unix time that is signed with the body."""
    project: PlaceRule
    """Where the project is read from."""
    stage: PlaceRule
    """Where the stage is read from."""
    service: PlaceRule
    """Where the service is read from."""
    allow: Allow
    """The places that its alerts may name."""
    alertmanagers: Annotated[tuple[HttpUrl, ...], Many, Field(max_length=10)] = ()
    """The addresses of all Alertmanagers of this source: they are asked before each act."""
    receiver: Name = "remedy"
    """The name of our receiver in their configuration: what is listed for others is none of our
    business."""
    confirm: Literal["on", "off"] = "on"
    """`off` where no Alertmanager can be asked. Then silences are not seen, and what ended while
    the service was down is not noticed."""
    prometheus: PrometheusServer | None = None
    """Who is asked about problems of this source, instead of the `prometheus` of all."""
    on_acknowledged: Literal["hold", "note"] = "hold"
    """What follows where somebody acknowledges an incident of PagerDuty: `hold` begins no remedy
    until it is resolved, or nobody has it any more; `note` only notes it."""
    ignore_labels: Annotated[tuple[Name, ...], Many, Field(max_length=50)] = (
        "replica",
        "prometheus_replica",
        "severity",
    )
    """Labels that make no trouble of their own."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.kind == "pagerduty":
            if self.alertmanagers or self.signature_header or self.timestamp_header:
                raise ValueError("pagerduty signs with X-PagerDuty-Signature, and lists no alerts")
            return self
        if self.confirm == "on" and not self.alertmanagers:
            raise ValueError("alertmanagers is missing; confirm: off does without them")
        if self.alertmanagers and self.kind != "alertmanager":
            raise ValueError(f"no Alertmanager can be asked about {self.kind}; write confirm: off")
        if self.timestamp_header and not self.signature_header:
            raise ValueError("timestamp_header needs signature_header")
        return self


class EpisodeStorm(_Entry):
    """Nothing acts while so many problems of one stage began at once: the cause is elsewhere."""

    episodes: Count = DEFAULTS.storm_episodes
    """The number of episodes of one stage that may begin."""
    within: Positive = DEFAULTS.storm_within
    """The time in which they are counted."""


class Ladder(_Entry):
    """How remedies are tried one after the other. An action of remediation.yaml may override what
    it names itself.
    """

    act_after: Duration = DEFAULTS.act_after
    """The time from the first firing alert to the first act."""
    wait: Duration = DEFAULTS.wait
    """The time after an action in which its effect settles, before the judge looks."""
    window: Positive = DEFAULTS.window
    """The time in which the judge may find that it helped."""
    hold_for: Duration = DEFAULTS.hold_for
    """How long the criterion must hold without interruption."""
    on_unknown: OnUnknown = DEFAULTS.on_unknown
    """What follows where the judge can't tell."""
    on_action_failed: OnFailed = DEFAULTS.on_action_failed
    """What follows an action that failed."""
    quiet_for: Positive = DEFAULTS.quiet_for
    """The time without a firing alert after which an episode is closed."""
    relapse: Duration = DEFAULTS.relapse
    """An episode that helped and fires again within this time goes on at its next rung."""
    max_open: Positive = DEFAULTS.max_open
    """An episode without news for so long is told to a person and closed."""
    confirm_for: Positive = DEFAULTS.confirm_for
    """For so long the ladder waits for Alertmanagers that can't be asked; then a person is told."""
    storm: EpisodeStorm = EpisodeStorm()
    """The limit of problems that begin at once."""

    def rules(self) -> LadderRules:
        """The same, as the ladder goes by it."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name != "storm"}
        return LadderRules(
            **own, storm_episodes=self.storm.episodes, storm_within=self.storm.within
        )


ALERTMANAGERS = "alertmanagers"
"""The word for an alert of our own at the source's Alertmanagers, beside the names of channels."""
_NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def _source_name(written: str) -> str:
    if not re.fullmatch(_NAME, written):
        raise ValueError("a source is called by lower case letters, digits and -, at most 63")
    return written


SourceName = Annotated[
    str,
    AfterValidator(_source_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]


def _some(sources: Mapping[str, Source]) -> Mapping[str, Source]:
    if not sources:
        raise ValueError("must name at least one source")
    return sources


class SourcesFile(_Entry):
    """Where problems come from, and how their remedies are judged (REMEDY_SOURCES)."""

    version: Literal[1]
    """The version of this format."""
    sources: Annotated[dict[SourceName, Source], Field(max_length=100), AfterValidator(_some)]
    """The sources; each name is the last part of its path, `/intake/<name>`."""
    prometheus: PrometheusServer | None = None
    """Who is asked by criteria of the kinds alert, promql and slo, but for sources that name
    another."""
    ladder: Ladder = Ladder()
    """How remedies are tried."""
    escalate_to: Annotated[tuple[Name, ...], Many, Field(min_length=1, max_length=50)] = (
        ALERTMANAGERS,
    )
    """Who is told when a person is needed: channels of REMEDY_CHANNELS, and `alertmanagers` for an
    alert RemedyGaveUp at the source's own Alertmanagers."""

    def asked_by(self, source: str) -> PrometheusServer | None:
        """Who is asked about problems of this source."""
        own = self.sources.get(source)
        return own.prometheus if own and own.prometheus else self.prometheus

    @classmethod
    def load(cls, text: str) -> SourcesFile:
        """Parse the text of the file.

        Raises:
            SourcesError: with one line per mistake.
        """
        return mistakes.load(text, cls, SourcesError, partial(mistakes.lines, keys=_Keys(KEYS)))


def unknown_channels(sources: SourcesFile, channels: Collection[str]) -> list[str]:
    """What is wrong with `escalate_to`, where these channels exist: nobody would be told."""
    known = (ALERTMANAGERS, *channels)
    return [
        f"escalate_to: there is no channel {name!r} in REMEDY_CHANNELS{near(name, known)}"
        for name in sources.escalate_to
        if name not in known
    ]


_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): SourcesFile,
    ("sources", "*"): Source,
    ("sources", "*", "project"): PlaceRule,
    ("sources", "*", "stage"): PlaceRule,
    ("sources", "*", "service"): PlaceRule,
    ("sources", "*", "allow"): Allow,
    ("sources", "*", "prometheus"): PrometheusServer,
    ("prometheus",): PrometheusServer,
    ("ladder",): Ladder,
    ("ladder", "storm"): EpisodeStorm,
}
KEYS = {path: frozenset(model.model_fields) for path, model in _MODELS.items()}
"""The keys that each map may have, for hints on misspelt ones; `*` is the name of a source."""


class _Keys(dict[tuple[str, ...], frozenset[str]]):
    """The keys of a map, whatever its source is called."""

    def get(self, path: Any, default: Any = None) -> Any:
        anonymous = (path[0], "*", *path[2:]) if path[:1] == ("sources",) and path[1:] else path
        return super().get(anonymous, default)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return {"$schema": GenerateJsonSchema.schema_dialect, **SourcesFile.model_json_schema()}
