"""The actions: those of installed packages and of a folder, and why some are off."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from pydantic import TypeAdapter

from keptn_remedy.action import Action, AnyAction, BaseAction, PlannedAction
from keptn_remedy.action import key as key  # noqa: PLC0414  others call it registry.key
from keptn_remedy.support import logs
from keptn_remedy.support.variables import SettingsError, build

ENTRY_POINTS = "keptn_remedy.actions"
CLOSE_SECONDS = 0.3


class RegistryError(Exception):
    """The actions can't be used together. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Entry:
    """A known action. Where it is off, `action` is None and `off` says why."""

    cls: type[AnyAction]
    origin: str
    action: AnyAction | None
    off: str | None
    value: TypeAdapter[Any]

    @property
    def name(self) -> str:
        return self.cls.name

    def goes_by(self, name: str) -> bool:
        """Whether `name` is its name or an alias, in any spelling."""
        return key(name) in _keys(self.cls)


class Registry:
    """Finds the action that a trigger names, without regard to case, `-` and `_`."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.name)
        self._by_name = {
            key: entry for entry in self.entries for key in _keys(entry.cls) if entry.action
        }
        # Nearly every trigger spells the name as the class does.
        self._as_declared = {
            name: entry
            for entry in self.entries
            for name in (entry.name, *entry.cls.aliases)
            if entry.action
        }
        self._by_key = {key: entry for entry in self.entries for key in _keys(entry.cls)}

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The name and the aliases of each action, by its name."""
        return {entry.name: (entry.name, *entry.cls.aliases) for entry in self.entries}

    def find(self, name: str) -> Entry | None:
        """The action of that name or alias; None if there is none or it is off."""
        return self._as_declared.get(name) or self._by_name.get(key(name))

    def entry(self, name: str) -> Entry | None:
        """The action of that name or alias, on or off; None if there is none."""
        return self._by_key.get(key(name))

    async def close(self) -> None:
        """Close all actions at the same time, in `CLOSE_SECONDS` at most; failures are logged."""
        closing = [_closed(entry.name, entry.action) for entry in self.entries if entry.action]
        await asyncio.gather(*closing)


def discover(
    variables: Mapping[str, str], *, switched_on: tuple[str, ...] = (), folder: Path | None = None
) -> Registry:
    """The actions of installed packages and of `folder`, with their settings from `variables`.

    With `switched_on`, all others are off.

    Raises:
        RegistryError: an action can't be loaded, two claim the same name, or `switched_on` has an
            unknown name.
    """
    mistakes: list[str] = []
    found: dict[type[AnyAction], str] = {}
    for cls, origin in (*_installed(mistakes), *_dropped_in(folder, mistakes)):
        found.setdefault(cls, origin)
    mistakes += [mistake for cls, origin in found.items() for mistake in _declared(cls, origin)]
    if not mistakes:
        mistakes += _claimed_twice(found) + _missing(found, switched_on)
    if mistakes:
        raise RegistryError(mistakes)
    return of(found, variables, switched_on=switched_on)


def of(
    classes: Mapping[type[AnyAction], str],
    variables: Mapping[str, str],
    *,
    switched_on: tuple[str, ...] = (),
) -> Registry:
    """A registry of classes; the map's values say where each comes from."""
    wanted = {key(name) for name in switched_on}
    return Registry(_entry(cls, origin, variables, wanted) for cls, origin in classes.items())


async def _closed(name: str, action: AnyAction) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await action.close()
    except Exception as error:  # noqa: BLE001  an author's close may fail in any way
        logs.logger().warning("closing an action failed", action=name, error=repr(error))


def _keys(cls: type[AnyAction]) -> set[str]:
    return {key(name) for name in (cls.name, *cls.aliases)}


def _entry(
    cls: type[AnyAction], origin: str, variables: Mapping[str, str], wanted: set[str]
) -> Entry:
    value: TypeAdapter[Any] = TypeAdapter(cls.Value)
    if wanted and not wanted & _keys(cls):
        return Entry(cls, origin, None, "not named in REMEDY_ACTIONS", value)
    try:
        settings = build(cls.Settings, env_prefix(cls), variables)
    except SettingsError as error:
        return Entry(cls, origin, None, str(error), value)
    try:
        return Entry(cls, origin, cls(settings), None, value)
    except Exception as error:  # noqa: BLE001  an author's __init__ may fail in any way
        return Entry(cls, origin, None, f"its __init__ failed: {error!r}", value)


def env_prefix(cls: type[BaseAction]) -> str:
    """The prefix of the action's variables."""
    if cls.env_prefix is not None:
        return cls.env_prefix
    return cls.name.upper().replace("-", "_") + "_"


def _installed(mistakes: list[str]) -> Iterator[tuple[type[AnyAction], str]]:
    for point in entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist else "?"
        origin = f"{package} ({point.value})"
        try:
            yield point.load(), origin
        except (Exception, SystemExit) as error:  # noqa: BLE001  imports may fail in any way
            mistakes.append(f"{origin} can't be loaded: {error!r}")


def _dropped_in(folder: Path | None, mistakes: list[str]) -> Iterator[tuple[type[AnyAction], str]]:
    if folder is None:
        return
    if not folder.is_dir():
        mistakes.append(f"REMEDY_ACTIONS_DIR: {folder} is not a folder")
        return
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith("test_") or path.name == "conftest.py":
            continue
        try:
            module = _imported(path)
        except (Exception, SystemExit) as error:  # noqa: BLE001  as above
            mistakes.append(f"{path} can't be loaded: {error!r}")
            continue
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if _looks_like_an_action(cls) and cls.__module__ == module.__name__:
                yield cls, str(path)


def _imported(path: Path) -> ModuleType:
    name = f"keptn_remedy_drop_in.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _looks_like_an_action(cls: type[Any]) -> TypeGuard[type[AnyAction]]:
    """Whether it is one; an abstract class without a name is only a base class of others."""
    if not issubclass(cls, (Action, PlannedAction)):
        return False
    return hasattr(cls, "name") or not inspect.isabstract(cls)


def _declared(cls: Any, origin: str) -> list[str]:
    """What is wrong with a class, one line each; names what its author wrote."""
    if not inspect.isclass(cls) or not issubclass(cls, (Action, PlannedAction)):
        return [f"{origin} is not a subclass of Action or PlannedAction"]
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        return [f"{origin}: {cls.__name__} must define {missing}"]
    if not isinstance(getattr(cls, "name", None), str) or not key(cls.name):
        return [f"{origin}: {cls.__name__}.name must be the `action:` of remediation.yaml"]
    for attribute in ("aliases", "retry_on"):
        if not isinstance(getattr(cls, attribute), tuple):
            return [f"{origin}: {cls.__name__}.{attribute} must be a tuple"]
    try:
        TypeAdapter(cls.Value)
    except Exception as error:  # noqa: BLE001  pydantic has many ways to refuse a type
        return [f"{origin}: {cls.__name__}.Value is not a type that pydantic can validate: {error}"]
    return []


def _claimed_twice(found: Mapping[type[AnyAction], str]) -> list[str]:
    claims: dict[str, type[AnyAction]] = {}
    mistakes: list[str] = []
    for cls in found:
        for name in sorted(_keys(cls)):
            other = claims.setdefault(name, cls)
            if other is not cls:
                mistakes.append(
                    f"{found[other]}: {other.__name__} and {found[cls]}: {cls.__name__}"
                    f" both claim the action name {name!r}"
                )
    return mistakes


def _missing(found: Mapping[type[AnyAction], str], switched_on: tuple[str, ...]) -> list[str]:
    known = {name for cls in found for name in _keys(cls)}
    names = ", ".join(sorted(cls.name for cls in found))
    return [
        f"REMEDY_ACTIONS: there is no action {name!r}; there are: {names}"
        for name in switched_on
        if key(name) not in known
    ]
