"""Keptn's sli.yaml: the queries of indicators, with their placeholders filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from keptn_remedy.remediation.file import as_map, as_text

FILE: Final = "prometheus/sli.yaml"
DURATION: Final = "$DURATION_SECONDS"
_QUOTES = str.maketrans("", "", "\"'`\\\n")
# As prometheus-service has them, for indicators that sli.yaml does not name.
_THROUGHPUT = f"sum(rate(http_requests_total{{FILTER}}[{DURATION}]))"
_ERRORS = f"sum(rate(http_requests_total{{FILTER,status!~'2..'}}[{DURATION}]))/{_THROUGHPUT}"
_LATENCY = (
    "histogram_quantile(SHARE,sum(rate(http_response_time_milliseconds_bucket{FILTER}"
    f"[{DURATION}]))by(le))"
)
_SHARES = {"p50": "0.50", "p90": "0.90", "p95": "0.95"}
_BUILT_IN: Mapping[str, str] = {
    "throughput": _THROUGHPUT,
    "error_rate": _ERRORS,
    **{
        f"{name}_{each}": _LATENCY.replace("SHARE", share)
        for name in ("request_latency", "response_time")
        for each, share in _SHARES.items()
    },
}


class About(NamedTuple):
    """What placeholders stand for: a place, the labels of an alert, and the filters of slo.yaml."""

    project: str
    stage: str
    service: str
    labels: Mapping[str, str]
    filters: Mapping[str, str]


def indicators(document: Any) -> dict[str, str]:
    """The queries that an sli.yaml names."""
    listed = as_map(as_map(document).get("indicators")).items()
    return {name: query for name, value in listed if (query := as_text(value))}


def query(sli: str, named: Mapping[str, str], about: About) -> str:
    """The query of an indicator, in which only its duration is left open; "" where nobody knows it.
    Values of labels can't end a text in the query: whoever writes labels is not its author.
    """
    written = named.get(sli)
    if written is None:
        return _BUILT_IN.get(sli, "").replace("FILTER", _filter(about))
    for name, value in about.filters.items():
        plain = value.replace("'", "").replace('"', "")
        written = written.replace(f"${name}", plain).replace(f"${name.upper()}", plain)
    for name in ("project", "stage", "service"):
        written = written.replace(f"${name.upper()}", getattr(about, name))
    written = written.replace("$DEPLOYMENT", _plain(about.labels.get("deployment", "")))
    # The longest first: one name may begin another.
    for name in sorted(about.labels, key=len, reverse=True):
        written = written.replace(f"$LABEL.{name}", _plain(about.labels[name]))
    return written


def within(written: str, seconds: float) -> str:
    """The query about so many seconds."""
    return written.replace(DURATION, f"{max(1, round(seconds))}s")


def _plain(value: str) -> str:
    return value.translate(_QUOTES)


def _filter(about: About) -> str:
    found: list[str] = []
    for name, value in about.filters.items():
        if value.startswith(("=", "!=", "!~")):
            found.append(name + value.replace('"', "'"))
        else:
            found.append(f"{name}='{_plain(value)}'")
    job = f"job='{about.service}-{about.project}-{about.stage}-canary'"
    return ",".join(found if "job" in about.filters else [job, *found])
