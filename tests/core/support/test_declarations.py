"""What can't be meant is found when the class is declared; an author's own helpers are let be."""

import re
from functools import cached_property, wraps
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from keptn_remedy import Action, ActionSettings, Outcome, PlannedAction, Retry


async def three(self: Any, one: Any, two: Any) -> Any: ...


async def four(self: Any, one: Any, two: Any, three: Any) -> Any: ...


async def two(self: Any, one: Any) -> Any: ...


async def asked_later(self: Any, trigger: Any) -> bool:
    return True


async def yielding(self: Any, one: Any, two: Any) -> Any:
    yield one


class SomeSettings(ActionSettings):
    pass


class SomeModel(BaseModel):
    pass


@pytest.mark.parametrize(
    ("base", "declared", "mistake"),
    [
        (Action, {"timout": 5}, "timout: there is no such attribute; did you mean timeout?"),
        (Action, {"Timeout": 5}, "Timeout: there is no such attribute; did you mean timeout?"),
        (Action, {"time_out": 5.0}, "did you mean timeout?"),
        (Action, {"retries": 3}, "retries: there is no such attribute; did you mean retry?"),
        (Action, {"retrys": Retry()}, "did you mean retry?"),
        (Action, {"alias": "other"}, "did you mean aliases?"),
        (Action, {"idempotant": False}, "did you mean idempotent?"),
        (Action, {"retry_one": (ValueError,)}, "did you mean retry_on?"),
        (Action, {"Setting": SomeSettings}, "did you mean Settings?"),
        (Action, {"Values": SomeModel}, "did you mean Value?"),
        (Action, {"timeout": "5"}, "timeout must be a number of seconds above 0"),
        (Action, {"timeout": 0}, "timeout must be a number of seconds above 0"),
        (Action, {"deadline": None}, "deadline must be a number of seconds above 0"),
        (Action, {"deadline": float("nan")}, "deadline must be a number of seconds above 0"),
        (Action, {"retry": 3}, "retry must be a Retry, such as Retry(attempts=3)"),
        (Action, {"retry_on": [ValueError]}, "retry_on must be a tuple of exceptions"),
        (Action, {"retry_on": (ValueError, str)}, "retry_on must be a tuple of exceptions"),
        (Action, {"idempotent": "no"}, "idempotent must be True or False"),
        (Action, {"aliases": "other"}, "aliases must be a tuple of names"),
        (Action, {"env_prefix": 5}, "env_prefix must be text"),
        (Action, {"Settings": {}}, "Settings must be a class"),
        (Action, {"run": two}, "run must take (self, context, value)"),
        (Action, {"run": four}, "run must take (self, context, value)"),
        (Action, {"run": yielding}, "run must take (self, context, value), and not yield"),
        (Action, {"accepts": lambda self: True}, "accepts must take (self, trigger)"),
        (Action, {"accepts": asked_later}, "accepts must not be async"),
        (Action, {"tasks": "get-sli"}, "tasks: there is no such attribute; did you mean task?"),
        (Action, {"close": two}, "close must take (self)"),
        (PlannedAction, {"undo": two}, "undo must take (self, context, plan)"),
        (PlannedAction, {"plan": two}, "plan must take (self, context, value)"),
        (PlannedAction, {"undo_on_failed_verify": False}, "did you mean undo_on_failed_ver"),
    ],
)
def test_what_can_not_be_meant_is_a_mistake(
    base: type[Any], declared: dict[str, Any], mistake: str
) -> None:
    with pytest.raises(TypeError, match=rf"^Odd\.({re.escape(mistake)}|.*{re.escape(mistake)})"):
        type("Odd", (base,), declared)


def test_every_mistake_of_a_class_is_told() -> None:
    with pytest.raises(TypeError, match=r"Odd\.timout.*; Odd\.retry must be"):
        type("Odd", (Action,), {"timout": 5, "retry": 3})


def injected(method: Any) -> Any:
    """A decorator that passes one argument more than it is given."""

    @wraps(method)
    async def wrapper(self: Any, one: Any, two: Any) -> Any:
        return await method(self, one, two, "injected")

    return wrapper


@pytest.mark.parametrize(
    ("base", "declared"),
    [
        (Action, {"runs": []}),
        (Action, {"attempts": 3}),
        (Action, {"timeout_seconds": 5}),
        (Action, {"timeouts": {"eu": 5}}),
        (Action, {"timeout": 5, "timeouts": 7}),
        (Action, {"names": ("a", "b")}),
        (Action, {"_timout": 5}),
        (Action, {"settings": None}),
        (Action, {"value": 5}),
        (Action, {"closed": False}),
        (Action, {"plan": two}),
        (PlannedAction, {"run": two}),
        (Action, {"retry": Retry(first=60)}),
        (Action, {"timeout": property(lambda self: 5)}),
        (Action, {"deadline": cached_property(lambda self: 5)}),
        (Action, {"run": injected(four)}),
        (Action, {"run": lambda *given: Outcome.passed("done")}),
        (Action, {"run": staticmethod(lambda context, value: Outcome.passed("done"))}),
    ],
)
def test_a_helper_of_the_author_is_let_be(base: type[Any], declared: dict[str, Any]) -> None:
    type("Mine", (base,), declared)


def test_what_a_base_class_declares_is_not_asked_for_again() -> None:
    class Base(Action):
        name = "base"
        timeout = 5
        timeouts: ClassVar[int] = 5

    class Mine(Base):
        timeouts: ClassVar[int] = 7

    assert Mine.timeouts == 7
