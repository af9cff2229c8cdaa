"""The file that REMEDY_CONFIG names: somebody must read each variable in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from keptn_remedy.guardrails.defaults import PREFIX as REPLICA_PREFIX
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.registry import Registry, env_prefix
from keptn_remedy.settings import PREFIX, KeptnSettings, Settings
from keptn_remedy.support import variables
from keptn_remedy.support.variables import CONFIG, SettingsError, names_of

_SIMILAR = 0.6


def check(environ: Mapping[str, str], actions: Registry) -> None:
    """Compare the names in the file with those of all settings, of actions that are off as well.

    Raises:
        SettingsError: nobody reads a variable of that name. One line each, with the nearest name.
    """
    in_file = variables.in_file(environ)
    if not in_file.lines:
        return
    known = set(_known(actions))
    # What can't be loaded reads variables, too, which nobody can know.
    prefixes = {name.partition("_")[0] for name in known} if actions.broken else {""}
    mistakes = [
        f"{in_file.place(name)}: {name}: nobody reads a variable of that name{_hint(name, known)}"
        for name in in_file.lines
        if name not in known and (name.startswith(tuple(prefixes)) or not name.isupper())
    ]
    if mistakes:
        raise SettingsError(mistakes)


def _known(actions: Registry) -> Iterator[str]:
    yield CONFIG
    for cls, prefix in (
        (Settings, PREFIX),
        (KeptnSettings, ""),
        (ReplicaSettings, REPLICA_PREFIX),
        *((entry.cls.Settings, env_prefix(entry.cls)) for entry in actions.entries),
    ):
        for name in names_of(cls, prefix):
            yield name
            yield f"{name}_FILE"


def _hint(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_SIMILAR)
    return f"; did you mean {near[0]}?" if near else ""
