"""Writes docs/settings.md from the settings themselves: `python -m tests.settings_page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from keptn_remedy import settings
from keptn_remedy.registry import env_prefix
from keptn_remedy.settings import CommandSettings, KeptnSettings, Settings
from keptn_remedy.support import variables
from keptn_remedy_actions.argocd import ArgoCd
from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.drain_node import DrainNode
from keptn_remedy_actions.evict import Evict
from keptn_remedy_actions.pause_rollout import PauseRollout
from keptn_remedy_actions.resize import Resize
from keptn_remedy_actions.run_job import RunJob
from keptn_remedy_actions.toggle_feature import ToggleFeature
from keptn_remedy_actions.wait import Wait
from keptn_remedy_actions.webhook import Webhook

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRO = f"""\
# Settings

<!-- Written by `python -m tests.settings_page`; a test fails when it isn't up to date. -->

Settings are environment variables. An empty variable counts as unset. `{variables.CONFIG}` may
name a YAML file that maps the same names to values; the environment wins over the file. A name
that is in the file twice, or that no setting has, ends commands with exit code 2, its line and the
nearest name.

Every variable can also be given as a file: `<NAME>_FILE` holds the path, and the file's content
without surrounding white space is the value. Use this for secrets. A secret of six characters or
more is never logged, reported to Keptn or shown; a shorter one can't be recognised in other text.

An invalid setting ends `remedy serve` with exit code 2 and one line for each mistake. So does an
unknown `REMEDY_` variable. A mistake in an action's settings switches that action off instead;
`remedy actions` shows why.
"""
SECTIONS: tuple[tuple[str, str, type[BaseSettings], str], ...] = (
    ("The process", "", Settings, settings.PREFIX),
    ("Keptn's own names", "Keptn's own manifests set these.", KeptnSettings, ""),
    (
        "Commands",
        "What commands read, and the service doesn't ([commands](commands.md)).",
        CommandSettings,
        settings.PREFIX,
    ),
    (
        "toggle-feature",
        "See [toggle-feature](actions/toggle-feature.md). Without a store of flags it is off.",
        ToggleFeature.Settings,
        env_prefix(ToggleFeature),
    ),
    (
        "scale, rollback, restart",
        "In a pod they act on its cluster; elsewhere on the one that `KUBECONFIG` names.",
        KubernetesSettings,
        env_prefix(ClusterAction),
    ),
    (
        "webhook",
        "See [webhook](actions/webhook.md). Without `WEBHOOK_HOSTS` the action is off.",
        Webhook.Settings,
        env_prefix(Webhook),
    ),
    (
        "wait",
        "See [wait](actions/wait.md). Without `WAIT_LONGEST` the action is off.",
        Wait.Settings,
        env_prefix(Wait),
    ),
    (
        "run-job",
        "See [run-job](actions/run-job.md). Without `RUN_JOB_IMAGES` the action is off.",
        RunJob.Settings,
        env_prefix(RunJob),
    ),
    (
        "evict",
        "See [evict](actions/evict.md). Without `EVICT_MOST_PODS` the action is off.",
        Evict.Settings,
        env_prefix(Evict),
    ),
    (
        "resize",
        "See [resize](actions/resize.md). `RESIZE_MOST_CPU` and `RESIZE_MOST_MEMORY` switch it on.",
        Resize.Settings,
        env_prefix(Resize),
    ),
    (
        "pause-rollout",
        "See [pause-rollout](actions/pause-rollout.md). `PAUSE_ROLLOUT_KINDS` switches it on.",
        PauseRollout.Settings,
        env_prefix(PauseRollout),
    ),
    (
        "argocd",
        "See [argocd](actions/argocd.md). `ARGOCD_NAMESPACE` switches it on.",
        ArgoCd.Settings,
        env_prefix(ArgoCd),
    ),
    (
        "drain-node, uncordon",
        "See [drain-node](actions/drain-node.md). Without `DRAIN_MOST_NODES` both are off.",
        DrainNode.Settings,
        env_prefix(DrainNode),
    ),
)


def page() -> str:
    """The page as it should be."""
    return "\n".join((INTRO, *map("\n".join, map(_section, SECTIONS))))


def _section(section: tuple[str, str, type[BaseSettings], str]) -> Iterator[str]:
    title, text, cls, prefix = section
    yield f"## {title}\n"
    if text:
        yield f"{text}\n"
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    properties = cls.model_json_schema(by_alias=False)["properties"]
    for name, field in own_fields(cls).items():
        spelled = " or ".join(f"`{variable}`" for variable in variables_of(prefix, name, field))
        yield _row(spelled, properties[name])
    yield ""


def own_fields(cls: type[BaseSettings]) -> Mapping[str, FieldInfo]:
    """The fields of a section, without those that have a section of their own."""
    shared = KubernetesSettings.model_fields if cls is not KubernetesSettings else {}
    return {name: field for name, field in cls.model_fields.items() if name not in shared}


def variables_of(prefix: str, name: str, field: FieldInfo) -> list[str]:
    """The variables that a field is read from."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [f"{prefix}{name}"]
    return [str(choice).upper() for choice in choices]


def _row(variables: str, schema: Mapping[str, Any]) -> str:
    meaning = " ".join(schema["description"].split()) + _limits(schema)
    return f"| {variables} | {_default(schema.get('default'))} | {meaning.replace('|', '&#124;')} |"


def _default(value: object) -> str:
    if value is None or value in ("", []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _limits(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f" One of {', '.join(f'`{value}`' for value in schema['enum'])}."
    if "exclusiveMinimum" in schema:
        upto = f", up to {schema['maximum']:g}" if "maximum" in schema else ""
        return f" More than {schema['exclusiveMinimum']:g}{upto}."
    if "maximum" in schema:
        return f" From {schema['minimum']:g} to {schema['maximum']:g}."
    return ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
