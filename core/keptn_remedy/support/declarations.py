"""What is wrong with the declaration of an action's class: attributes and signatures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from numbers import Real
from types import NoneType
from typing import Any, NamedTuple, cast

from pydantic import BaseModel
from pydantic_settings import BaseSettings

Check = Callable[[Any], bool]

_SIMILAR = 0.8
# As NATS and Keptn's subscriptions write them.
_EVENT_TYPES = re.compile(r"sh\.keptn(\.([A-Za-z0-9_-]{1,100}|\*)){1,9}(\.>)?|sh\.keptn\.>")


class Kind(NamedTuple):
    """What an attribute may be, in words and as a check. `is_meant` recognises values that an
    author may have meant for it under a misspelt name.
    """

    words: str
    fits: Check
    is_meant: Check


def _instance_of(*types: type) -> Check:
    def is_one(value: Any) -> bool:
        return isinstance(value, types)

    return is_one


def _subclass_of(base: type) -> Check:
    def is_one(value: Any) -> bool:
        return inspect.isclass(value) and issubclass(value, base)

    return is_one


def _is_number(value: Any) -> bool:
    # A bool is an int to Python.
    return not isinstance(value, bool) and isinstance(value, Real | float)


def _are_seconds(value: Any) -> bool:
    return _is_number(value) and value > 0


def _are_errors(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        map(_subclass_of(BaseException), cast("tuple[object, ...]", value))
    )


def _is_task(value: Any) -> bool:
    # It is a part of the type of an event.
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value) is not None


def _are_event_types(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(each, str) and _EVENT_TYPES.fullmatch(each)
        for each in cast("tuple[object, ...]", value)
    )


def _anything(value: Any) -> bool:
    return True


def _kinds(retry: type) -> Mapping[str, Kind]:
    seconds = Kind("a number of seconds above 0", _are_seconds, _is_number)
    flag = Kind("True or False", _instance_of(bool), _instance_of(bool))
    return {
        "task": Kind("a task's name, such as get-sli", _is_task, _instance_of(str)),
        "subscriptions": Kind(
            'a tuple of types of events, such as ("sh.keptn.event.*.remediation.finished",)',
            _are_event_types,
            _are_event_types,
        ),
        "aliases": Kind("a tuple of names", _instance_of(tuple), _instance_of(str, tuple, list)),
        "env_prefix": Kind("text", _instance_of(str, NoneType), _instance_of(str)),
        "retry": Kind(
            "a Retry, such as Retry(attempts=3)",
            _instance_of(retry),
            _instance_of(retry, int, float),
        ),
        "retry_on": Kind("a tuple of exceptions", _are_errors, _are_errors),
        "timeout": seconds,
        "deadline": seconds,
        "idempotent": flag,
        "undo_on_failed_verification": flag,
        "undo_when_aborted": flag,
        "Settings": Kind("a class", inspect.isclass, _subclass_of(BaseSettings)),
        "Value": Kind("a type", _anything, _subclass_of(BaseModel)),
    }


_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "run": ("context", "value"),
    "plan": ("context", "value"),
    "apply": ("context", "plan"),
    "verify": ("context", "plan"),
    "undo": ("context", "plan"),
    "is_same": ("asked", "now"),
    "accepts": ("trigger",),
    "close": (),
    "diagnose": ("http", "namespaces"),
}


def mistakes(cls: type, framework: str, retry: type) -> Iterator[str]:
    """One line for each mistake in what the class itself declares. `framework` is the module of its
    bases, `retry` the type of its attribute of that name. Only what can't be meant is a mistake: an
    author's own helpers may have any name that is not nearly one of the framework's.
    """
    bases = [base for base in cls.__mro__ if base.__module__ == framework]
    known = {name for base in bases for name in (*vars(base), *inspect.get_annotations(base))}
    declared = {name for base in cls.__mro__ if base not in bases for name in vars(base)}
    kinds = {name: kind for name, kind in _kinds(retry).items() if name in known}
    free = {name: kind for name, kind in kinds.items() if name not in declared}
    for name, value in () if cls in bases else vars(cls).items():
        if name in kinds:
            if not _is_computed(value) and not kinds[name].fits(value):
                yield f"{cls.__name__}.{name} must be {kinds[name].words}"
        elif name in known:
            if name in _ARGUMENTS and not _accepts(value, _ARGUMENTS[name]):
                wanted = ", ".join(("self", *_ARGUMENTS[name]))
                yield f"{cls.__name__}.{name} must take ({wanted}), and not yield"
            elif name == "accepts" and inspect.iscoroutinefunction(value):
                yield f"{cls.__name__}.accepts must not be async: it is asked before an answer"
        elif not name.startswith("_") and (meant := _meant(name, value, free)):
            yield f"{cls.__name__}.{name}: there is no such attribute; did you mean {meant}?"


def _is_computed(value: object) -> bool:
    """Whether it is a property or the like, whose value only an instance has."""
    return hasattr(type(value), "__get__") and not inspect.isfunction(value)


def _meant(name: str, value: object, kinds: Mapping[str, Kind]) -> str | None:
    """The attribute that was meant; None for what may well be a helper of the author's."""
    near = (other for other, kind in kinds.items() if kind.is_meant(value) and _alike(name, other))
    return next(near, None)


def _alike(name: str, other: str) -> bool:
    name, other = (each.lower().replace("_", "") for each in (name, other))
    alike = SequenceMatcher(None, name, other).ratio() >= _SIMILAR
    return alike or _singular(name) == _singular(other)


def _singular(word: str) -> str:
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def _is_static(declared: object) -> bool:
    return isinstance(declared, staticmethod)


def _accepts(declared: Any, arguments: tuple[str, ...]) -> bool:
    """Whether the method can be called with so many arguments, by position."""
    method: Any = getattr(declared, "__func__", declared)
    given = arguments if _is_static(declared) else ("self", *arguments)
    if not inspect.isfunction(method):
        return True  # only a call can tell
    if inspect.isasyncgenfunction(method) or (
        inspect.isgeneratorfunction(method)
        and not method.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
    ):
        return False
    try:
        # Not of what a decorator wraps: it may pass further arguments.
        inspect.signature(method, follow_wrapped=False).bind(*given)
    except TypeError:
        return False
    return True
