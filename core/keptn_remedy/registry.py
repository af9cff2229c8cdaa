"""The actions by name, with their settings, and why some are off."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from keptn_remedy.action import AnyAction, BaseAction
from keptn_remedy.action import key as key  # noqa: PLC0414  others call it registry.key
from keptn_remedy.action_classes import ENTRY_POINTS as ENTRY_POINTS  # noqa: PLC0414  as above
from keptn_remedy.action_classes import ActionClasses
from keptn_remedy.action_classes import Broken as Broken  # noqa: PLC0414  as above
from keptn_remedy.events import ACTION, TRIGGERED, ActionTriggered, event_type
from keptn_remedy.events.bounds import shortened
from keptn_remedy.settings import Settings
from keptn_remedy.support import logs
from keptn_remedy.support.authored import deed, is_async
from keptn_remedy.support.near_names import near
from keptn_remedy.support.trust import why_not_trusted
from keptn_remedy.support.variables import SettingsError, build

REMEDY_ACTIONS, REMEDY_ALIASES = "REMEDY_ACTIONS", "REMEDY_ALIASES"
CLOSE_SECONDS = 0.3


class RegistryError(Exception):
    """The actions can't be used together. `mistakes` has one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Entry:
    """A known action. Where it is off, `action` is None and `off` says why. `given` are the names
    that the operator gives it besides its own.
    """

    cls: type[AnyAction]
    origin: str
    action: AnyAction | None
    off: str | None
    value: TypeAdapter[Any]
    given: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.cls.name

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its further names."""
        return (*self.cls.aliases, *self.given)

    @property
    def keys(self) -> set[str]:
        """All of its names, in the form that names are compared in."""
        return _keys(self.cls) | {key(name) for name in self.given}

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the value; empty where its type has none."""
        try:
            return self.value.json_schema()
        except BaseException:  # noqa: BLE001  an author's type may fail in any way
            return {}

    def goes_by(self, name: str) -> bool:
        """Whether `name` is its name or an alias, in any spelling."""
        return key(name) in self.keys


class Registry:
    """Finds the action that a trigger means: the one that it names, without regard to case, `-` and
    `_`, or for a task other than `action` the only one of that task. `broken` is what can't be
    used, and so is in no entry.
    """

    def __init__(self, entries: Iterable[Entry], broken: tuple[Broken, ...] = ()) -> None:
        self.broken = broken
        self.entries = sorted(entries, key=lambda entry: entry.name)
        self._by_name = {key: entry for entry in self.entries for key in entry.keys if entry.action}
        # Nearly every trigger spells the name as the class does.
        self._as_declared = {
            meaning: entry for entry in self.entries for meaning in _meanings(entry)
        }
        self.subscribers = [
            entry for entry in self.entries if entry.action and entry.cls.subscriptions
        ]
        self._by_key = {key: entry for entry in self.entries for key in entry.keys}

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The name and the aliases of each action, by its name."""
        return {entry.name: (entry.name, *entry.aliases) for entry in self.entries}

    @property
    def triggers(self) -> tuple[str, ...]:
        """The types of the triggers that are answered here."""
        on = (entry.cls for entry in self.entries if entry.action)
        tasks = sorted({cls.task for cls in on if not cls.subscriptions})
        return tuple(event_type(task, "triggered") for task in tasks) or (TRIGGERED,)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The types of events that subscribers receive, with `*` and `>`."""
        return tuple(
            sorted({each for entry in self.subscribers for each in entry.cls.subscriptions})
        )

    def subscribers_to(self, event_type: str) -> list[Entry]:
        """Those that receive events of this type."""
        parts = event_type.split(".")
        return [
            entry
            for entry in self.subscribers
            if any(_covers(each.split("."), parts) for each in entry.cls.subscriptions)
        ]

    def serving(self, trigger: ActionTriggered) -> Entry | None:
        """The action that the trigger means; None if there is none or it is off."""
        entry = self._as_declared.get((trigger.task, trigger.action)) or self.meant_by(trigger)
        return entry if entry and entry.action else None

    def find(self, name: str) -> Entry | None:
        """The action of that name or alias; None if there is none or it is off."""
        return self._by_name.get(key(name))

    def meant_by(self, trigger: ActionTriggered) -> Entry | None:
        """The action that the trigger means, on or off; None if there is none."""
        if trigger.task != ACTION:
            return self._as_declared.get((trigger.task, ""))
        entry = self._by_key.get(key(trigger.action))
        is_one = entry and entry.cls.task == ACTION and not entry.cls.subscriptions
        return entry if is_one else None

    def entry(self, name: str) -> Entry | None:
        """The action of that name or alias, on or off; None if there is none."""
        return self._by_key.get(key(name))

    async def close(self) -> None:
        """Close all actions at the same time, in `CLOSE_SECONDS` at most; failures are logged."""
        closing = [_closed(entry.name, entry.action) for entry in self.entries if entry.action]
        await asyncio.gather(*closing)


def discover(
    variables: Mapping[str, str],
    *,
    switched_on: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    folder: Path | None = None,
    trusts_others: bool = False,
    is_strict: bool = False,
) -> Registry:
    """The actions of installed packages and of `folder`, with their settings from `variables`.

    With `switched_on`, all others are off. `aliases` are further names, as `NAME=ACTION`. What
    can't be used is left out, and `Registry.broken` says why. `trusts_others`: load the folder's
    files even if others may write them.

    Raises:
        RegistryError: the folder is none, or others may write it; two classes claim the same name;
            `switched_on` has an unknown name, or `aliases` one that is unknown or taken. If it
            `is_strict`: something can't be used.
    """
    found = ActionClasses()
    found.add_installed()
    if folder is not None:
        _check_folder(folder, trusts_others=trusts_others)
        found.add_folder(folder, trusts_others=trusts_others)
    mistakes = [str(broken) for broken in found.broken] if is_strict else []
    mistakes += _claimed_twice(found.origins)
    given, wrong = _given(found.origins, aliases)
    meant = {key(name): cls.name for cls, names in given.items() for name in names}
    switched_on = tuple(meant.get(key(name), name) for name in switched_on)
    unknown = [(REMEDY_ACTIONS, mistake) for mistake in _missing(found.origins, switched_on)]
    unknown += [(REMEDY_ALIASES, mistake) for mistake in wrong]
    if found.broken:  # perhaps it is in one of these
        found.broken += [Broken(setting, setting, mistake) for setting, mistake in unknown]
    else:
        mistakes += [f"{setting}: {mistake}" for setting, mistake in unknown]
    if mistakes:
        raise RegistryError(mistakes)
    broken = tuple(found.broken)
    return of(found.origins, variables, switched_on=switched_on, given=given, broken=broken)


def configured(variables: Mapping[str, str], settings: Settings) -> Registry:
    """The actions as the settings of the process want them. Raises RegistryError, as `discover`."""
    return discover(
        variables,
        switched_on=settings.actions,
        aliases=settings.aliases,
        folder=settings.actions_dir,
        trusts_others=settings.trust_actions_dir,
        is_strict=settings.strict_actions,
    )


def of(
    classes: Mapping[type[AnyAction], str],
    variables: Mapping[str, str],
    *,
    switched_on: tuple[str, ...] = (),
    given: Mapping[type[AnyAction], tuple[str, ...]] | None = None,
    broken: tuple[Broken, ...] = (),
) -> Registry:
    """A registry of classes; the map's values say where each comes from. `given` are further names
    for them.
    """
    wanted = {key(name) for name in switched_on}
    names = given or {}
    entries = (_entry(cls, origin, variables, wanted) for cls, origin in classes.items())
    return Registry((replace(each, given=names.get(each.cls, ())) for each in entries), broken)


async def _closed(name: str, action: AnyAction) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            if is_async(action.close):
                await action.close()
            elif inspect.isawaitable(closing := await asyncio.to_thread(action.close)):
                await closing
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  an author's close may fail in any way
        why = f"{type(error).__name__}: {error}"  # the repr of aiohttp's shows headers
        logs.logger().warning("closing an action failed", action=name, error=why)


def _keys(cls: type[AnyAction]) -> set[str]:
    return {key(name) for name in (cls.name, *cls.aliases)}


def _covers(pattern: list[str], parts: list[str]) -> bool:
    """Whether a subscription covers a type, both in parts, as NATS compares subjects."""
    if pattern[-1] == ">":
        known = len(pattern) - 1
        return len(parts) > known and _covers(pattern[:known], parts[:known])
    return len(pattern) == len(parts) and all(
        wanted in ("*", part) for wanted, part in zip(pattern, parts, strict=True)
    )


def _meanings(entry: Entry) -> Iterator[tuple[str, str]]:
    """Task and action name of the triggers that mean the action."""
    cls = entry.cls
    if cls.subscriptions:
        yield "", cls.name
        return
    if cls.task != ACTION:
        yield cls.task, ""
        return
    for name in (cls.name, *entry.aliases):
        yield ACTION, name


def _entry(
    cls: type[AnyAction], origin: str, variables: Mapping[str, str], wanted: set[str]
) -> Entry:
    value: TypeAdapter[Any] = TypeAdapter(cls.Value)
    if wanted and not wanted & _keys(cls):
        return Entry(cls, origin, None, "not named in REMEDY_ACTIONS", value)
    try:
        settings = build(cls.Settings, env_prefix(cls), variables)
    except SettingsError as error:
        return Entry(cls, origin, None, shortened(str(error)), value)
    except BaseException as error:  # noqa: BLE001  an author's validators may fail in any way
        # Without the error's text: it may quote a secret.
        return Entry(cls, origin, None, f"its Settings failed: they {deed(error)}", value)
    try:
        return Entry(cls, origin, cls(settings), None, value)
    except BaseException as error:  # noqa: BLE001  so may an __init__
        why = f"its __init__ failed: {type(error).__name__}: {error}"
        return Entry(cls, origin, None, shortened(why), value)


def env_prefix(cls: type[BaseAction]) -> str:
    """The prefix of the action's variables."""
    if cls.env_prefix is not None:
        return cls.env_prefix
    return cls.name.upper().replace("-", "_") + "_"


def _check_folder(folder: Path, *, trusts_others: bool) -> None:
    try:
        if not folder.is_dir():
            raise RegistryError([f"REMEDY_ACTIONS_DIR: {folder} is not a folder"])
        # Whoever may write __pycache__ may replace the code that is run.
        for place in (folder, folder / "__pycache__"):
            if not trusts_others and place.exists() and (why := why_not_trusted(place)):
                how = "or set REMEDY_TRUST_ACTIONS_DIR=true"
                raise RegistryError([f"REMEDY_ACTIONS_DIR: {why}; correct that, {how}"])
    except OSError as error:
        raise RegistryError([f"REMEDY_ACTIONS_DIR: {folder}: {error.strerror}"]) from None


def _claimed_twice(found: Mapping[type[AnyAction], str]) -> list[str]:
    claims: dict[str, type[AnyAction]] = {}
    tasks: dict[str, type[AnyAction]] = {}
    mistakes: list[str] = []
    for cls in found:
        for name in sorted(_keys(cls)):
            other = claims.setdefault(name, cls)
            if other is not cls:
                mistakes.append(
                    f"{found[other]}: {other.__name__} and {found[cls]}: {cls.__name__}"
                    f" both claim the action name {name!r}"
                )
        other = tasks.setdefault(cls.task, cls)
        if other is not cls and cls.task != ACTION:
            mistakes.append(
                f"{found[other]}: {other.__name__} and {found[cls]}: {cls.__name__}"
                f" both claim the task {cls.task!r}"
            )
    return mistakes


def _given(
    found: Mapping[type[AnyAction], str], aliases: tuple[str, ...]
) -> tuple[dict[type[AnyAction], tuple[str, ...]], list[str]]:
    """The names that the operator gives each class, and the mistakes in them."""
    taken = {name: cls for cls in found for name in _keys(cls)}
    given: dict[type[AnyAction], tuple[str, ...]] = {}
    mistakes = list[str]()
    for text in aliases:
        name, equals, meant = (part.strip() for part in text.partition("="))
        cls = taken.get(key(meant))
        if not (equals and key(name) and meant):
            mistakes.append(f"{text!r} is not NAME=ACTION, such as restart-cache=webhook")
        elif cls is None:
            mistakes += _missing(found, (meant,))
        elif key(name) in taken:
            mistakes.append(f"{name!r} means {taken[key(name)].name} already")
        else:
            taken[key(name)] = cls
            given[cls] = (*given.get(cls, ()), name)
    return given, mistakes


def _missing(found: Mapping[type[AnyAction], str], switched_on: tuple[str, ...]) -> list[str]:
    known = {name for cls in found for name in _keys(cls)}
    spelled = [name for cls in found for name in (cls.name, *cls.aliases)]
    names = f"; there are: {', '.join(sorted(cls.name for cls in found))}"
    return [
        f"there is no action {name!r}{near(name, spelled) or names}"
        for name in switched_on
        if key(name) not in known
    ]
