"""What sources.yaml means, in words."""

from __future__ import annotations

from collections.abc import Sequence

from yarl import URL

from keptn_remedy.guardrails.units import counted, in_words
from keptn_remedy.standalone.sources import (
    ALERTMANAGERS,
    Ladder,
    PlaceRule,
    PrometheusServer,
    Source,
    SourcesFile,
)


def explain(sources: SourcesFile) -> list[str]:
    """One line for each source, one each for the judge, the ladder, and who is told."""
    lines = [_source(name, source) for name, source in sources.sources.items()]
    lines += [
        _judge(f"For {name}, the", source.prometheus)
        for name, source in sources.sources.items()
        if source.prometheus
    ]
    lines.append(_judge("The", sources.prometheus))
    return [*lines, _ladder(sources.ladder), _told(sources)]


def _judge(whose: str, servers: PrometheusServer | None) -> str:
    if servers is None:
        return f"{whose} judge asks nobody, so it can't tell of any remedy whether it helped."
    urls = [str(URL(url).with_user(None)) for url in servers.addresses]
    several = " Nothing has helped unless all say so." if len(urls) > 1 else ""
    age = in_words(servers.max_age)
    return f"{whose} judge asks {_list(urls)}; what is older than {age} counts as no data.{several}"


def _told(sources: SourcesFile) -> str:
    ways = [
        "an alert RemedyGaveUp at the source's Alertmanagers"
        if each == ALERTMANAGERS
        else f"channel {each}"
        for each in sources.escalate_to
    ]
    return f"When a person is needed, it is told by {_list(ways)}."


def deaf(sources: SourcesFile) -> list[str]:
    """What nobody is told of: sources whose problems no channel tells."""
    if any(each != ALERTMANAGERS for each in sources.escalate_to):
        return []
    return [
        f"nobody is told when a problem of {name} needs a person: it has no alertmanagers, so"
        " escalate_to must name a channel"
        for name, source in sources.sources.items()
        if not source.alertmanagers and source.kind != "pagerduty"
    ]


def _source(name: str, source: Source) -> str:
    place = ", ".join(
        f"{what} from {_place(rule)}"
        for what, rule in (
            ("project", source.project),
            ("stage", source.stage),
            ("service", source.service),
        )
    )
    allow = source.allow
    may = (
        f"projects {_list(allow.projects)}, stages {_list(allow.stages)} and services"
        f" {_list(allow.services)}"
    )
    urls = [str(URL(str(url)).with_user(None)) for url in source.alertmanagers]
    if source.kind == "pagerduty":
        then = "holds the remedies of" if source.on_acknowledged == "hold" else "is noted at"
        asked = f"Whoever acknowledges an incident {then} the open problems that its title names."
    elif source.confirm == "on":
        asked = f"Before each act {_list(urls)} {'is' if len(urls) == 1 else 'are'} asked."
    else:
        asked = "Nobody is asked before an act: silences are not seen."
    is_signed = source.signature_header or source.kind == "pagerduty"
    how = "signed with" if is_signed else "with"
    return (
        f"{name}: {source.kind} posts to /intake/{name}, {how} the secret in {source.secret_file}."
        f" It reads {place}. It may name {may}. {asked}"
    )


def _place(rule: PlaceRule) -> str:
    labels = [f"label {each}" for each in rule.names]
    return ", else ".join([*labels, *([f"{rule.default!r}"] if rule.default else [])])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _ladder(ladder: Ladder) -> str:
    unknown = {
        "escalate": "a person is told",
        "hold": "the ladder stops",
        "next": "the next one follows",
    }[ladder.on_unknown]
    return (
        f"The first remedy is tried {in_words(ladder.act_after)} after an alert begins to fire."
        f" {in_words(ladder.wait)} later the judge looks for at most {in_words(ladder.window)}:"
        f" what holds for {in_words(ladder.hold_for)} has helped. Where it can't tell, {unknown}."
        f" A problem is closed after {in_words(ladder.quiet_for)} of quiet. Nothing is tried while"
        f" more than {counted(ladder.storm.episodes, 'problem')} of a stage began within"
        f" {in_words(ladder.storm.within)}."
    )
