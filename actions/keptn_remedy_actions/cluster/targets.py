"""Finds the workload that a trigger means, by templates and `value`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from keptn_remedy import Context, PermanentError
from keptn_remedy_actions.cluster import (
    DAEMON_SET,
    DEPLOYMENT,
    ROLLOUT,
    STATEFUL_SET,
    Kind,
    Object,
    Ref,
    Workload,
    name_of,
    spec_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi, Forbidden, NotFound
from keptn_remedy_actions.cluster.obstacles import check_namespace_stays, check_stays
from keptn_remedy_actions.cluster.settings import PLACEHOLDER, KubernetesSettings

KINDS = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, ROLLOUT)
_SHORT = {"deploy": DEPLOYMENT, "sts": STATEFUL_SET, "ds": DAEMON_SET, "ro": ROLLOUT}
_BY_NAME = {name: kind for kind in KINDS for name in (kind.name.lower(), kind.plural)} | _SHORT
# RFC 1123: namespaces are labels, workloads are subdomains.
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_API_VERSION = re.compile(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?v[0-9][a-z0-9]*")
_MOST_SIMILAR = 5
_LONGEST_SHOWN = 40


class TargetValue(BaseModel):
    """What `value` may say about the target; the templates give the rest.

    Keptn merges the values of a sequence's rounds (docs/keptn.md#k23), so `value` may have fields
    of other actions. Their names are kept in `foreign` and reported in notes.
    """

    model_config = ConfigDict(extra="forbid")

    foreign: SkipJsonSchema[tuple[str, ...]] = ()
    namespace: str | None = None
    kind: str | None = None
    """Deployment, StatefulSet, DaemonSet or Rollout; with `apiVersion` any other kind."""
    name: str | None = None
    api_version: str | None = Field(default=None, alias="apiVersion")

    @model_validator(mode="before")
    @classmethod
    def _without_foreign(cls, sent: Any) -> Any:
        if not isinstance(sent, dict):
            return {} if sent is None else {"foreign": (f"{sent!r}"[:_LONGEST_SHOWN],)}
        value = cast("Object", sent)
        known = {field.alias or name for name, field in cls.model_fields.items()} - {"foreign"}
        foreign = tuple(str(key) for key in value if key not in known)
        for key in foreign:
            if meant := get_close_matches(key, known, n=1, cutoff=0.75):
                raise ValueError(f"there is no {key!r}; did you mean {meant[0]!r}?")
        return {**{key: value[key] for key in value if key in known}, "foreign": foreign}

    @field_validator("namespace", "kind", "name", "api_version")
    @classmethod
    def _not_empty(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("must not be empty")
        return text

    @property
    def notes(self) -> tuple[str, ...]:
        """Which fields were ignored."""
        if not self.foreign:
            return ()
        return (f"ignored in value, as it is not for this action: {', '.join(self.foreign)}",)


async def resolve(
    api: ClusterApi,
    settings: KubernetesSettings,
    context: Context,
    asked: TargetValue,
    kinds: Sequence[Kind] = KINDS,
    *,
    or_any_scalable: bool = False,
) -> Workload:
    """The workload, of one of these kinds; with `or_any_scalable` any kind that `value` names.

    Raises:
        PermanentError: there is no workload of that name, or more than one, or the name is invalid.
        Denied: the workload or its namespace is being deleted.
    """
    trigger = context.trigger
    namespace = asked.namespace or filled(settings.namespace_template, trigger)
    name = asked.name or filled(settings.workload_template, trigger)
    check_name("namespace", namespace, LABEL)
    check_name("workload", name, SUBDOMAIN)
    if asked.kind or asked.api_version:
        kinds = [await _kind(api, asked, kinds, or_any_scalable=or_any_scalable)]
    found, unseen = await _found(api, [Ref(kind, namespace, name) for kind in kinds])
    if not found:
        seen = [kind for kind in kinds if kind not in unseen]
        raise PermanentError(await _absence(api, namespace, name, seen, unseen))
    if len(found) > 1:
        choices = " and ".join(workload.ref.kind.name for workload in found)
        raise PermanentError(
            f"{name} in {namespace} is ambiguous: there are {choices}; set `kind` in `value`"
        )
    check_stays(found[0].ref, found[0].live)
    await check_namespace_stays(api, namespace)
    return found[0]


def filled(template: str, trigger: Any) -> str:
    """The template with its placeholders replaced.

    Raises:
        PermanentError: the event has nothing for a placeholder.
    """

    def replaced(match: re.Match[str]) -> str:
        word = match[1]
        label = word.removeprefix("labels[").removesuffix("]")
        text = trigger.labels.get(label) if label != word else getattr(trigger, word)
        if not text:
            raise PermanentError(f"{template!r} needs {word}, which the event doesn't have")
        return str(text)

    return PLACEHOLDER.sub(replaced, template)


def check_name(what: str, name: str, pattern: re.Pattern[str]) -> None:
    """Raises PermanentError where the API server can't have something of this name."""
    if not pattern.fullmatch(name):
        raise PermanentError(f"{name!r} is not a valid name of a {what} (RFC 1123)")


async def _kind(
    api: ClusterApi, asked: TargetValue, kinds: Sequence[Kind], *, or_any_scalable: bool
) -> Kind:
    """The kind that `value` names; unknown ones are looked up by API discovery."""
    if not asked.kind:
        raise PermanentError("value.apiVersion needs value.kind as well")
    known = _BY_NAME.get(asked.kind.lower())
    if known and asked.api_version in (None, known.api_version):
        if known in kinds:
            return known
        raise PermanentError(f"a {known.name} can't be the target of this action")
    if not or_any_scalable:
        raise PermanentError(f"a {asked.kind} can't be the target of this action")
    if not asked.api_version:
        raise PermanentError(f"value.kind {asked.kind!r} needs value.apiVersion as well")
    return await _discovered(api, asked.kind, asked.api_version)


async def _discovered(api: ClusterApi, kind: str, api_version: str) -> Kind:
    if not _API_VERSION.fullmatch(api_version):
        raise PermanentError(f"{api_version!r} is not an apiVersion such as example.com/v1")
    resources = await api.resources(api_version)
    names = {resource["name"] for resource in resources}
    for resource in resources:
        if resource["kind"] == kind and f"{resource['name']}/scale" in names:
            group, _, version = api_version.rpartition("/")
            return Kind(kind, group, version, resource["name"])
    raise PermanentError(f"{api_version} has no {kind} with a scale subresource")


async def _found(api: ClusterApi, refs: Sequence[Ref]) -> tuple[list[Workload], list[Kind]]:
    """The workloads that exist, and the kinds that we have no right to read."""
    looks = await asyncio.gather(*(_look(api, ref) for ref in refs))
    refused = [look for look in looks if isinstance(look, Forbidden)]
    if len(refused) == len(refs):
        raise refused[0]
    unseen = [r.kind for r, look in zip(refs, looks, strict=True) if isinstance(look, Forbidden)]
    found = [look for look in looks if isinstance(look, Workload)]
    # A Rollout with a `workloadRef` uses a Deployment's template: then the Rollout is the target.
    lent = {_lent(workload.live) for workload in found if workload.ref.kind == ROLLOUT}
    return [each for each in found if (each.ref.kind.name, each.ref.name) not in lent], unseen


async def _look(api: ClusterApi, ref: Ref) -> Workload | Forbidden | None:
    """The workload, None if there is none, or the error where we have no right to read it."""
    try:
        return Workload(ref, await api.get(ref))
    except NotFound:
        return None
    except Forbidden as error:
        return error


def _lent(rollout: Object) -> tuple[str, str]:
    workload: Object = spec_of(rollout).get("workloadRef") or {}
    return workload.get("kind", ""), workload.get("name", "")


async def _absence(
    api: ClusterApi, namespace: str, name: str, kinds: Sequence[Kind], unseen: Sequence[Kind]
) -> str:
    """What was looked for, and which similar workloads exist."""
    sought = " or ".join(kind.name for kind in kinds)
    said = f"no {sought} named {name} in {namespace}"
    if unseen:
        said += f" (no right to read {', '.join(kind.plural for kind in unseen)})"
    there = [each for kind in kinds for each in await _names(api, kind, namespace)]
    if not there:
        return f"{said}; the namespace has none, or doesn't exist"
    similar = get_close_matches(name, [each for _, each in there], n=_MOST_SIMILAR, cutoff=0.5)
    similar += [each for _, each in there if name in each]
    shown = [f"{kind} {each}" for kind, each in there if each in similar][:_MOST_SIMILAR]
    return f"{said}; similar: {', '.join(shown)}" if shown else f"{said}; none has a similar name"


async def _names(api: ClusterApi, kind: Kind, namespace: str) -> list[tuple[str, str]]:
    try:
        return [(kind.name, name_of(found)) for found in await api.list(kind, namespace)]
    except (NotFound, Forbidden):
        return []
