"""What `remedy doctor` says of standalone mode: sources, Alertmanagers, and who judges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yarl import URL

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.guardrails.units import counted
from keptn_remedy.standalone.alert_rules import AlertingRule, rule_of
from keptn_remedy.standalone.coverage import Entries, all_entries, unanswered, without_evidence
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.standalone.sources import (
    PrometheusServer,
    Source,
    SourcesFile,
)
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES

if TYPE_CHECKING:
    from aiohttp import ClientSession

ASK_SECONDS = 5.0
SHOWN = 12


async def sources(examined: Examined) -> AsyncIterator[Finding]:
    """Whether problems can come in, and somebody can be asked of them."""
    from keptn_remedy.http_client import lent_session  # imports the network libraries

    config = examined.settings
    if config.transport != "standalone":
        return
    try:
        content = await MountedFile(config.sources, MAX_BYTES + 1).read()
        read = SourcesFile.load(content.text)
    except (OSError, UnicodeDecodeError) as error:
        to_do = "set REMEDY_SOURCES, or begin with examples/sources.yaml"
        yield Finding("sources", False, f"{config.sources}: {why_unreadable(error)}", to_do)
        return
    except SourcesError as error:
        to_do = f"remedy sources check {config.sources}"
        yield Finding("sources", False, error.mistakes[0], to_do)
        return
    yield Finding("sources", True, f"{config.sources}: {', '.join(read.sources)}")
    async with lent_session() as http:
        looks = [_source(http, name, source) for name, source in read.sources.items()]
        looks.append(_judge(http, read, config.remediations))
        for finding in chain.from_iterable(await asyncio.gather(*looks)):
            yield finding


_UNCONFIRMED = "confirm: off: silences are not seen, nor what ended while the service was down"


async def _source(http: ClientSession, name: str, source: Source) -> list[Finding]:
    asked = (_alertmanager(http, str(url), source.receiver) for url in source.alertmanagers)
    found = await asyncio.gather(_secret(name, source), *asked)
    if source.confirm == "off":
        found.append(Finding(f"source {name}", None, _UNCONFIRMED))
    return found


async def _secret(name: str, source: Source) -> Finding:
    from keptn_remedy.standalone.configuration import SourceSecret

    why = await SourceSecret(source.secret_file, Clock()).why_unusable()
    if why:
        return Finding(f"source {name}", False, why, "write that file: openssl rand -hex 24")
    return Finding(f"source {name}", True, f"{source.kind} posts to /intake/{name} with its secret")


async def _alertmanager(http: ClientSession, url: str, receiver: str) -> Finding:
    from keptn_remedy.standalone.alertmanager import no_receiver

    shown = URL(url).with_user(None)
    why, body = await _get(http, f"{url.rstrip('/')}/api/v2/status")
    if why:
        to_do = "check its address and the proxy; without it nothing is tried"
        return Finding("alertmanager", False, f"{shown}: {why}", to_do)
    info = body.get("versionInfo") if is_object(body) else None
    version = info.get("version") if is_object(info) else None
    if not isinstance(version, str):
        return Finding("alertmanager", False, f"{shown} is no Alertmanager", "check its address")
    why, listed = await _get(http, f"{url.rstrip('/')}/api/v2/receivers")
    names: Sequence[str] = [] if why else _names(listed)
    if names and receiver not in names:
        to_do = "write in `receiver` of sources.yaml what it calls the one that posts to us"
        return Finding("alertmanager", False, f"{shown}: {no_receiver(receiver, names)}", to_do)
    return Finding("alertmanager", True, f"{shown} answers: {version}")


def _names(listed: Any) -> Sequence[str]:
    from keptn_remedy.standalone.alertmanager import receivers_in

    try:
        return receivers_in(listed)
    except (TypeError, KeyError):
        return []


async def _get(http: ClientSession, url: str) -> tuple[str, Any]:
    """Why there is no answer, or the answer."""
    from aiohttp import ClientError, ClientTimeout

    from keptn_remedy.http_client import in_words

    try:
        async with http.get(
            url,
            timeout=ClientTimeout(ASK_SECONDS),
            allow_redirects=False,
            raise_for_status=False,
        ) as answer:
            if 300 <= answer.status < 400:
                return f"it redirects ({answer.status}): an alert sent that way is lost", None
            if answer.status != 200 or answer.content_type != "application/json":
                said = f"{answer.status} {answer.content_type}"
                return f"{said}, which is no answer of its API", None
            return "", await answer.json()
    except (ClientError, TimeoutError, ValueError, OSError) as error:
        return in_words(error), None


async def _judge(http: ClientSession, read: SourcesFile, folder: Path) -> list[Finding]:
    found: list[Finding] = []
    entries = await asyncio.to_thread(all_entries, folder)
    if not entries:
        to_do = "write remediation.yaml for a project, or set REMEDY_REMEDIATIONS"
        found.append(Finding("remediations", False, f"{folder} has no remediation.yaml", to_do))
    named = (read.prometheus, *(source.prometheus for source in read.sources.values()))
    servers = {url: server for server in named if server for url in server.addresses}
    if not servers:
        to_do = "add it: without it the judge can't tell of any remedy whether it helped"
        return [*found, Finding("prometheus", False, "sources.yaml names none", to_do)]
    rules: list[AlertingRule] = []
    asked = (_rules(http, url, server) for url, server in servers.items())
    for finding, listed in await asyncio.gather(*asked):
        found.append(finding)
        rules += listed
    return [*found, *_covered(rules, [each for _, listed in entries for each in listed])]


async def _rules(
    http: ClientSession, url: str, server: PrometheusServer
) -> tuple[Finding, list[AlertingRule]]:
    """Whether one Prometheus can be asked, and its alerting rules."""
    from keptn_remedy.standalone.prometheus import NoAnswer, Prometheus

    shown = URL(url).with_user(None)
    try:
        asked = Prometheus(http, url, time.time, server.token_file)
        listed = (await asked.alert_rules()).listed
    except (NoAnswer, OSError) as error:
        to_do = "check its address, its token and the proxy"
        return Finding("prometheus", False, f"{shown}: {error}", to_do), []
    said = f"{shown} answers, with {counted(len(listed), 'alerting rule')}"
    return Finding("prometheus", True, said), [*map(rule_of, listed)]


def _covered(rules: Sequence[AlertingRule], entries: Entries) -> Iterator[Finding]:
    left = sorted({rule.name for rule in unanswered(rules, entries)})
    if left:
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        message = f"no remedy answers {', '.join(left[:SHOWN])}{more}"
        yield Finding("remedies", None, message, "people are told by your own routes")
    elif rules:
        yield Finding("remedies", True, "every alerting rule has a remedy in some file")
    for problem_type, number, rule in without_evidence(rules, entries):
        message = f"{problem_type}, action {number}: the rule {rule.name} compares no number"
        to_do = "add `evaluation: {alert: {evidence: QUERY}}`, or promql"
        yield Finding("evidence", False, message, to_do)
