"""What earlier rounds left in a value by Keptn's merging is dropped, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Annotated, Any, ClassVar

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator

from keptn_remedy import Action, Context, Outcome, events
from keptn_remedy.events import ActionTriggered
from keptn_remedy.registry import Entry
from keptn_remedy.remediation.earlier_rounds import Cleaned, cleaned, without_leftovers
from keptn_remedy.testing import registry_of, triggered

MISSING: Any = object()
CONTEXT = "9a0f6a59-2a6b-4f57-8d1c-7d1a7b0a55d3"


class Toggle(Action):
    """Each of its keys is a request of its own."""

    name = "toggle-feature"
    aliases = ("featuretoggle",)
    Value = dict[str, Any]

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed("done")


class Where(BaseModel):
    """A workload and its number of replicas."""

    name: str = ""
    max: int | None = None
    replicas: Any = None


class Scale(Toggle):
    """Its keys are parameters, of which some say where."""

    name = "scale"
    aliases = ("scaling",)
    Value: ClassVar[Any] = Annotated[
        Where, BeforeValidator(lambda sent: sent, json_schema_input_type=str | Where)
    ]


class Rounds:
    """The rounds of one Keptn context, as the journal has them."""

    def __init__(self) -> None:
        self.triggers: dict[str, ActionTriggered] = {}
        self.asked: list[str] = []

    def add(self, action: str, value: Any = None, **others: Any) -> ActionTriggered:
        """The next round; its event has what we sent at the end of the one before."""
        told = {"execution": list(self.triggers)[-1]} if self.triggers else None
        event = triggered(action, value, **{"remedy": told, **others})
        event["shkeptncontext"] = CONTEXT
        trigger = events.stored_trigger(orjson.dumps(event))
        self.triggers[trigger.id] = trigger
        return trigger

    async def find(self, execution_id: str) -> ActionTriggered | None:
        self.asked.append(execution_id)
        return self.triggers.get(execution_id)


def entry(action: type[Action]) -> Entry:
    found = registry_of(action).entry(action.name)
    assert found
    return found


async def value_of(
    rounds: Rounds, trigger: ActionTriggered, action: type[Action] = Toggle
) -> tuple[Any, tuple[str, ...]]:
    return await without_leftovers(trigger, entry(action), rounds.find)


# The merge of keptn/shipyard-controller, release by release (docs/keptn.md#k22).


def is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def clash_013(old: Any, new: Any) -> Any:
    return old if new is None and isinstance(old, dict) else new


def clash_014(old: Any, new: Any) -> Any:
    return new if isinstance(old, str) and isinstance(new, str) else old


def clash_015(old: Any, new: Any) -> Any:
    if is_number(old) or is_number(new):
        return old
    return "" if isinstance(old, str) and new is None else new


RELEASES: dict[str, tuple[Callable[[Any, Any], Any], bool]] = {
    "0.13": (clash_013, True),
    "0.14": (clash_014, False),
    "0.15": (clash_015, True),
}


def merged(release: str, old: Any, new: Any) -> Any:
    clash, newest_first = RELEASES[release]
    if old is MISSING or new is MISSING:
        return deepcopy(old if new is MISSING else new)
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return {k: merged(release, old.get(k, MISSING), new.get(k, MISSING)) for k in keys}
    if isinstance(old, list) and isinstance(new, list):
        return new + old if newest_first else old + new
    return clash(old, new)


def written(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def can_be_known(release: str, old: Any, new: Any) -> bool:
    """Whether what the second round asked for can be told from what Keptn makes of both."""
    if old is MISSING:
        return True
    if isinstance(old, dict) and isinstance(new, dict):
        return bool(new) and all(can_be_known(release, old.get(k, MISSING), new[k]) for k in new)
    together = merged(release, old, new)
    if isinstance(old, list) and isinstance(new, list):
        both_ends = together[: len(old)] == old and together[-len(old) :] == old
        return bool(new) and not (old and both_ends)
    return written(together) == written(new) != written(old)


words = st.sampled_from(["on", "off", "+2", "x2", "a"])
leaves = words | st.booleans() | st.integers(0, 3) | st.none() | st.lists(words, max_size=3)
names = st.sampled_from(["A", "B", "C", "D"])
maps = st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=3), max_size=4)
values = maps | leaves


@given(st.sampled_from(list(RELEASES)), values, values)
def test_what_another_action_asks_for_in_the_next_round_is_found_again(
    release: str, first: Any, second: Any
) -> None:
    assume(second is not None)
    assume(can_be_known(release, first, second))
    sent = merged(release, first, second)
    assert written(cleaned(sent, first, same_action=False).value) == written(second)


@given(st.sampled_from(list(RELEASES)), maps, maps)
def test_so_is_what_the_same_action_asks_for_when_anything_of_it_is_new(
    release: str, first: Any, second: Any
) -> None:
    assume(can_be_known(release, first, {**second, "new": "on"}))
    sent = merged(release, first, {**second, "new": "on"})
    found = cleaned(sent, first, same_action=True).value
    assert written(found) == written({**second, "new": "on"})


def asked_for(path: tuple[str, ...], value: Any) -> set[tuple[Any, ...]]:
    """Each thing that a value asks for, with its place."""
    if isinstance(value, dict):
        return {each for k, item in value.items() for each in asked_for((*path, k), item)}
    if isinstance(value, list):
        return {(*path, "[]", written(item)) for item in value}
    return {(*path, written(value))}


@given(st.sampled_from(list(RELEASES)), values, values, st.booleans(), st.frozensets(names))
def test_nothing_is_asked_for_that_neither_round_did(
    release: str, first: Any, second: Any, same_action: bool, parameters: frozenset[str]
) -> None:
    sent = merged(release, first, second)
    found = cleaned(sent, first, same_action=same_action, parameters=parameters)
    wishes = asked_for((), sent)
    assert found.value is None or asked_for((), found.value) <= wishes
    assert found.dropped or written(found.value) == written(sent)


@given(st.sampled_from(list(RELEASES)), values)
def test_a_second_action_without_a_value_gets_none(release: str, first: Any) -> None:
    assume(first not in ({}, None))
    found = cleaned(merged(release, first, MISSING), first, same_action=False)
    assert found.value is None
    assert found.dropped


@given(values, st.frozensets(names))
def test_the_same_action_may_ask_for_the_same_once_more(
    value: Any, parameters: frozenset[str]
) -> None:
    assert cleaned(value, value, same_action=True, parameters=parameters) == Cleaned(value)


@pytest.mark.parametrize(
    ("value", "earlier", "left", "dropped"),
    [
        ({"A": "off", "B": "on"}, {"A": "off"}, {"B": "on"}, ("A",)),
        ({"A": True, "B": "on"}, {"A": 1}, {"A": True, "B": "on"}, ()),
        (
            {"A": {"x": "1", "y": "2"}, "B": "on"},
            {"A": {"x": "1"}},
            {"A": {"y": "2"}, "B": "on"},
            ("A.x",),
        ),
        (
            {"hosts": ["b", "a"], "B": "on"},
            {"hosts": ["a"]},
            {"hosts": ["b"], "B": "on"},
            ("1 of the 2 entries of hosts",),
        ),
        (["b", "a"], ["a"], ["b"], ("1 of the 2 entries of value",)),
        (["a", "b"], ["a"], ["b"], ("1 of the 2 entries of value",)),
        ("x2", {"A": "off"}, "x2", ()),
    ],
)
def test_each_thing_that_is_dropped_is_named(
    value: Any, earlier: Any, left: Any, dropped: tuple[str, ...]
) -> None:
    assert cleaned(value, earlier, same_action=True) == Cleaned(left, dropped)


def test_a_list_that_only_repeats_itself_takes_nothing_else_along() -> None:
    sent = {"mode": "slow", "hosts": ["a", "a"]}
    found = cleaned(sent, {"mode": "slow", "hosts": ["a"]}, same_action=True)
    assert found.value == {"mode": "slow", "hosts": ["a"]}


async def test_a_first_round_asks_nobody() -> None:
    rounds = Rounds()
    trigger = rounds.add("toggle-feature", {"remedy": "off"})
    assert await value_of(rounds, trigger) == ({"remedy": "off"}, ())
    assert rounds.asked == []


async def test_a_flag_of_the_round_before_is_ignored_and_told() -> None:
    rounds = Rounds()
    first = rounds.add("toggle-feature", {"recommendations": False})
    trigger = rounds.add("featuretoggle", {"recommendations": False, "promo-banner": "off"})
    value, notes = await value_of(rounds, trigger)
    assert value == {"promo-banner": "off"}
    assert notes == (
        f"recommendations: left over from the round before (execution {first.id}), ignored",
    )


async def test_an_alias_asks_for_the_same_once_more() -> None:
    rounds = Rounds()
    rounds.add("toggle-feature", {"A": "off"})
    trigger = rounds.add("Feature_Toggle", {"A": "off"})
    assert await value_of(rounds, trigger) == ({"A": "off"}, ())


async def test_a_round_that_repeats_the_one_before_leaves_out_what_that_one_did() -> None:
    rounds = Rounds()
    rounds.add("scale", {"replicas": "+2"})
    trigger, *_ = [rounds.add("toggle-feature", {"replicas": "+2", "A": "off"}) for _ in range(5)][
        ::-1
    ]
    value, notes = await value_of(rounds, trigger)
    assert value == {"A": "off"}
    assert len(notes) == 1


async def test_the_target_of_the_round_before_stays() -> None:
    rounds = Rounds()
    rounds.add("scale", {"name": "worker", "max": 8, "replicas": "+2"})
    trigger = rounds.add("scale", {"name": "worker", "max": 8, "replicas": "x2"})
    same = {"name": "worker", "max": 8, "replicas": "x2"}
    assert await value_of(rounds, trigger, Scale) == (same, ())


async def test_what_another_action_does_not_know_is_dropped_and_its_target_stays() -> None:
    rounds = Rounds()
    rounds.add("restart", {"name": "worker", "grace": "5s"})
    trigger = rounds.add("scale", {"name": "worker", "grace": "5s"})
    value, notes = await value_of(rounds, trigger, Scale)
    assert value == {"name": "worker"}
    assert len(notes) == 1


@pytest.mark.parametrize("elsewhere", ["project", "stage", "service"])
async def test_rounds_of_another_place_do_not_count(elsewhere: str) -> None:
    rounds = Rounds()
    rounds.add("toggle-feature", {"A": "off"}, **{elsewhere: "other"})
    trigger = rounds.add("toggle-feature", {"A": "off", "B": "on"})
    assert await value_of(rounds, trigger) == ({"A": "off", "B": "on"}, ())


@pytest.mark.parametrize(
    "told", [None, "text", {}, {"execution": 7}, {"execution": ""}, {"execution": "unknown"}]
)
async def test_what_we_did_not_tell_is_no_earlier_round(told: Any) -> None:
    rounds = Rounds()
    rounds.add("toggle-feature", {"A": "off"})
    trigger = rounds.add("toggle-feature", {"A": "off", "B": "on"}, remedy=told)
    assert await value_of(rounds, trigger) == ({"A": "off", "B": "on"}, ())


async def test_an_event_that_names_itself_ends_the_search() -> None:
    rounds = Rounds()
    trigger = rounds.add("toggle-feature", {"A": "off"}, id="1", remedy={"execution": "1"})
    assert await value_of(rounds, trigger) == ({"A": "off"}, ())
    assert rounds.asked == ["1"]


async def test_events_that_name_each_other_end_the_search() -> None:
    rounds = Rounds()
    rounds.add("toggle-feature", {"A": "off"}, id="1", remedy={"execution": "2"})
    trigger = rounds.add("toggle-feature", {"A": "off"}, id="2", remedy={"execution": "1"})
    assert await value_of(rounds, trigger) == ({"A": "off"}, ())
