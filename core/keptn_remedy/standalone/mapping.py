"""From an alert's labels to project, stage and service, and to the trouble that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import sha256

import orjson

from keptn_remedy.journal import Ignored, SeenAlert
from keptn_remedy.standalone.sources import PlaceRule, Source

SELF = "remedy_self"
"""The label of alerts that we send ourselves."""
_FORM = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MOST_CHARACTERS = 63
MOST_SHOWN = 60
# Nobody lists their alerts, and each beginning has a time of its own. A pair of Alertmanagers may
# disagree: there, what fires with an old start may be right.
_FIRES_ONCE = ("grafana", "dynatrace", "cloudevents")
# Grafana's own: a rule without data says nothing about the service.
_NO_DATA = ("DatasourceNoData", "DatasourceError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a message, in whatever form it came."""

    fingerprint: str
    is_firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str = ""
    url: str = ""
    names: tuple[str, ...] = ()
    key: str = ""
    """What it is known by again, where its sender has a name for it; else its labels."""

    @property
    def name(self) -> str:
        """What it is called where it came from."""
        return self.labels.get("alertname", "") or next(iter(self.names), "")


def placed(source: str, rules: Source, alert: Alert) -> SeenAlert | Ignored:
    """The alert with its place and key, or why it is ignored."""
    name = alert.name[:MOST_SHOWN]
    if alert.labels.get(SELF) == "true":
        return Ignored(source, name, "it is an alert of our own")
    if name in _NO_DATA:
        return Ignored(source, name, "a rule without data says nothing about the service")
    if alert.key and not alert.is_firing:
        # The end of what is known by its key needs no place, and may come without one.
        return SeenAlert(
            source=source,
            key=alert.key,
            fingerprint=alert.fingerprint,
            is_firing=False,
            labels=alert.labels,
            annotations=alert.annotations,
            starts_at=alert.starts_at,
            fires_once=rules.kind in _FIRES_ONCE,
        )
    found, why = place_of(rules, alert.labels)
    if why:
        return Ignored(source, name, why)
    return SeenAlert(
        source=source,
        key=alert.key or key_of(alert.labels, rules.ignore_labels),
        fingerprint=alert.fingerprint,
        is_firing=alert.is_firing,
        **found,
        names=alert.names or names_of(alert.labels, alert.annotations),
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.starts_at,
        url=alert.url,
        fires_once=rules.kind in _FIRES_ONCE,
    )


def place_of(rules: Source, labels: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Project, stage and service; or why there are none that count."""
    found: dict[str, str] = {}
    allow = rules.allow
    for what, where, globs in (
        ("project", rules.project, allow.projects),
        ("stage", rules.stage, allow.stages),
        ("service", rules.service, allow.services),
    ):
        value, why = _found(what, where, labels)
        if not why and not _is_allowed(value, globs):
            why = f"{what} {value} is not among those that this source may name"
        if why:
            return found, why
        found[what] = value
    return found, ""


def _found(what: str, where: PlaceRule, labels: Mapping[str, str]) -> tuple[str, str]:
    value = next(filter(None, map(labels.get, where.names)), where.default)
    if not value:
        return "", f"no {what}: it has no label {' or '.join(where.names)}"
    if len(value) > MOST_CHARACTERS or not _FORM.fullmatch(value):
        # It would name a folder and a namespace.
        return "", f"the {what} {value[:MOST_SHOWN]!r} is no name: lower case, digits and - only"
    return value, ""


@lru_cache(maxsize=1024)
def _is_allowed(value: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, glob) for glob in globs)


def key_of(labels: Mapping[str, str], ignored: tuple[str, ...]) -> str:
    """The same for all alerts of one trouble: a hash of the labels that tell troubles apart."""
    telling = {name: value for name, value in labels.items() if name not in ignored}
    return sha256(orjson.dumps(telling, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def names_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> tuple[str, ...]:
    """What a problem may be called in remediation.yaml, in the order of trying."""
    found = (
        annotations.get("keptn_problem", ""),
        annotations.get("summary", ""),
        labels.get("alertname", ""),
    )
    return tuple(dict.fromkeys(filter(None, found)))
