"""The classes of actions: those of installed packages and of a folder, and what can't be used."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, cast

from pydantic import TypeAdapter

from keptn_remedy.action import Action, AnyAction, PlannedAction, key
from keptn_remedy.support.authored import line_in
from keptn_remedy.support.trust import why_not_trusted

ENTRY_POINTS = "keptn_remedy.actions"
_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Broken:
    """A file, an entry point or a class that can't be used, and why. `name` is its short name."""

    name: str
    origin: str
    why: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.why}"


@dataclass(slots=True)
class ActionClasses:
    """The classes, each with where it comes from, and what can't be used."""

    origins: dict[type[AnyAction], str] = field(default_factory=dict[type[AnyAction], str])
    broken: list[Broken] = field(default_factory=list[Broken])

    def add_installed(self) -> None:
        """Add what installed packages register as entry points."""
        for point in entry_points(group=ENTRY_POINTS):
            package = point.dist.name if point.dist else "?"
            origin = f"{package} ({point.value})"
            try:
                cls = point.load()
            except BaseException as error:  # noqa: BLE001  an import may fail in any way
                why = f"can't be loaded: {_reason(error, _file_of(point))}"
                self.broken.append(Broken(point.name, origin, why))
            else:
                self._add(cls, point.name, origin)

    def add_folder(self, folder: Path, *, trusts_others: bool) -> None:
        """Add what the `*.py` files of a folder define."""
        for path in sorted(folder.glob("*.py")):
            if path.name.startswith("test_") or path.name == "conftest.py":
                continue
            try:
                if not trusts_others and (why := why_not_trusted(path)):
                    self.broken.append(Broken(path.name, str(path), f"not loaded: {why}"))
                    continue
                module = _imported(path)
            except BaseException as error:  # noqa: BLE001  as above
                why = f"can't be loaded: {_reason(error, str(path))}"
                self.broken.append(Broken(path.name, str(path), why))
                continue
            for _, cls in inspect.getmembers(module, inspect.isclass):
                if _looks_like_an_action(cls) and cls.__module__ == module.__name__:
                    self._add(cls, path.name, str(path))

    def _add(self, cls: Any, name: str, origin: str) -> None:
        if cls in self.origins:
            return
        if mistake := _mistake(cls):
            self.broken.append(Broken(name, origin, mistake))
        else:
            self.origins[cls] = origin


def _file_of(point: EntryPoint) -> str:
    try:
        spec = importlib.util.find_spec(point.module)
    except BaseException:  # noqa: BLE001  it imports the package around the module
        return ""
    return (spec.origin or "") if spec else ""


def _reason(error: BaseException, file: str) -> str:
    """The error in one line, with the line of the file at which it was raised."""
    line = line_in(file, error)
    said = error.msg if isinstance(error, SyntaxError) else _said(error)
    name = type(error).__name__
    text = " ".join(f"{name}: {said}".split()) if said else name
    return f"line {line}: {text[:_SHOWN]}" if line else text[:_SHOWN]


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  an error may fail to describe itself
        return ""


def _imported(path: Path) -> ModuleType:
    name = f"keptn_remedy_drop_in.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _looks_like_an_action(cls: type[Any]) -> TypeGuard[type[AnyAction]]:
    """Whether it is one; an abstract class without a name is only a base class of others."""
    if not issubclass(cls, (Action, PlannedAction)):
        return False
    return hasattr(cls, "name") or not inspect.isabstract(cls)


def _mistake(cls: Any) -> str | None:
    """What is wrong with a class; names what its author wrote."""
    try:
        return next(_mistakes(cls), None)
    except BaseException as error:  # noqa: BLE001  a metaclass of the author's may fail in any way
        return f"can't be read: {_reason(error, '')}"


def _mistakes(cls: Any) -> Iterator[str]:
    if not inspect.isclass(cls) or not issubclass(cls, (Action, PlannedAction)):
        yield "is not a subclass of Action or PlannedAction"
        return
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        yield f"{cls.__name__} must define {missing}"
    if not isinstance(getattr(cls, "name", None), str) or not key(cls.name):
        yield f"{cls.__name__}.name must be the `action:` of remediation.yaml"
    if not isinstance(getattr(cls, "task", None), str):
        yield f"{cls.__name__}.task must be a task's name, such as get-sli"
    if cls.subscriptions and cls.task != "action":
        yield f"{cls.__name__} must either carry out a task or have subscriptions"
    if not _are_names(cls.aliases):
        yield f"{cls.__name__}.aliases must be a tuple of names"
    try:
        TypeAdapter(cls.Value)
    except BaseException as error:  # noqa: BLE001  pydantic has many ways to refuse a type
        said = _reason(error, "")
        yield f"{cls.__name__}.Value is not a type that pydantic can validate: {said}"


def _are_names(aliases: object) -> bool:
    return isinstance(aliases, tuple) and all(
        isinstance(alias, str) and key(alias) for alias in cast("tuple[object, ...]", aliases)
    )
