"""The file that REMEDY_CONFIG names: somebody must read each variable in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic_settings import BaseSettings

from keptn_remedy.guardrails.defaults import PREFIX as REPLICA_PREFIX
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.registry import Registry, env_prefix
from keptn_remedy.settings import PREFIX, KeptnSettings, Settings
from keptn_remedy.support import variables
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import CONFIG, SettingsError, names_of

_OURS: tuple[tuple[type[BaseSettings], str], ...] = (
    (Settings, PREFIX),
    (KeptnSettings, ""),
    (ReplicaSettings, REPLICA_PREFIX),
)


def check(environ: Mapping[str, str], actions: Registry) -> None:
    """Compare the names in the file with those of all settings, of actions that are off as well.

    Raises:
        SettingsError: nobody reads a variable of that name. One line each, with the nearest name.
    """
    in_file = variables.in_file(environ)
    if not in_file.lines:
        return
    known, nested = set(_known(actions)), tuple(_nested(actions))
    # What can't be loaded reads variables, too, which nobody can know.
    prefixes = {name.partition("_")[0] for name in known} if actions.broken else {""}
    mistakes = [
        f"{in_file.place(name)}: {name}: nobody reads a variable of that name{near(name, known)}"
        for name in in_file.lines
        if name not in known
        and not name.startswith(nested)
        and (name.startswith(tuple(prefixes)) or not name.isupper())
    ]
    if mistakes:
        raise SettingsError(mistakes)


def _known(actions: Registry) -> Iterator[str]:
    yield CONFIG
    for cls, prefix in (*_OURS, *_settings(actions)):
        for name in names_of(cls, prefix):
            yield name
            yield f"{name}_FILE"


def _nested(actions: Registry) -> Iterator[str]:
    """How variables begin that set a part of an action's setting, such as `<NAME>_<FIELD>__`."""
    for cls, prefix in _settings(actions):
        if delimiter := cls.model_config.get("env_nested_delimiter"):
            yield from (f"{name}{delimiter.upper()}" for name in names_of(cls, prefix))


def _settings(actions: Registry) -> Iterator[tuple[type[BaseSettings], str]]:
    for entry in actions.entries:
        if issubclass(entry.cls.Settings, BaseSettings):  # else the action is off
            yield entry.cls.Settings, env_prefix(entry.cls)
