"""With REMEDY_VALUE_SOURCE=remediation.yaml the value is what the entry says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import PermanentError, TemporaryError, events
from keptn_remedy.events import ActionTriggered
from keptn_remedy.remediation.entry import value_of
from keptn_remedy.testing import triggered

EXAMPLE = (Path(__file__).parents[3] / "examples" / "remediation.yaml").read_text("utf-8")
LADDER = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
spec:
  remediations:
    - problemType: CPU saturation
      actionsOnOpen:
        - {name: More, action: scale, value: "+2"}
        - {name: More, action: scale, value: "+4"}
    - problemType: Memory
      actionsOnOpen:
        - {name: More, action: scale, value: "+6"}
        - {name: Again, action: restart}
    - problemType: default
      actionsOnOpen:
        - {name: More, action: scale, value: "+8"}
        - {name: Again, action: restart}
"""


def trigger(action: str, name: str, commit: str = "", **data: Any) -> ActionTriggered:
    event = triggered(action, {"merged": "by Keptn"}, **data)
    event["data"]["action"]["name"] = name
    event["gitcommitid"] = commit
    return events.stored_trigger(orjson.dumps(event))


async def read(file: str | bytes, sent: ActionTriggered) -> Any:
    async def fetch(*asked: str) -> bytes:
        return file if isinstance(file, bytes) else file.encode()

    value, notes = await value_of(sent, fetch)
    assert notes == ()
    return value


NEW = "spec: {remediations: [{problemType: x, actionsOnOpen: [{action: scale, value: 5}]}]}"
OLD = NEW.replace("5", "2")
CHANGED = "remediation.yaml has changed since the sequence began: at commit 7c1de0d3f5a4 "


@pytest.mark.parametrize(
    ("then", "notes"),
    [
        (NEW, ()),
        (OLD, (f"{CHANGED}the value was 2",)),
        (None, (f"{CHANGED}there is no remediation.yaml for sockshop/production/carts",)),
        ("{}", (f"{CHANGED}remediation.yaml has no entry scale ''; it has nothing",)),
        (TemporaryError("Keptn can't be asked"), ()),
    ],
)
async def test_the_newest_file_counts_and_a_change_since_the_sequence_began_is_told(
    then: str | Exception | None, notes: tuple[str, ...]
) -> None:
    asked: list[tuple[str, ...]] = []

    async def fetch(*resource: str) -> bytes | None:
        asked.append(resource)
        if resource[-1] and isinstance(then, Exception):
            raise then
        found = NEW if not resource[-1] else then
        return found.encode() if isinstance(found, str) else None

    event = trigger("scale", "", commit="7c1de0d3f5a4b29e")
    assert await value_of(event, fetch) == (5, notes)
    file = ("sockshop", "production", "carts", "remediation.yaml")
    assert asked == [(*file, ""), (*file, "7c1de0d3f5a4b29e")]


@pytest.mark.parametrize(
    ("action", "name", "value"),
    [
        ("toggle-feature", "Switch the campaign off", {"PromotionCampaign": "off"}),
        ("Toggle_Feature", "Switch recommendations off ", {"Recommendations": "off"}),
        ("scale", "Two replicas more", "+2"),
        ("rollback", "Back to what was healthy", None),
    ],
)
async def test_the_entry_is_found_by_action_and_name(action: str, name: str, value: Any) -> None:
    assert await read(EXAMPLE, trigger(action, name)) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"problem": {"ProblemTitle": "memory"}}, "+6"),
        ({"problem": {"rootCause": "Memory", "problemTitle": "CPU saturation"}}, "+6"),
        ({"problem": {"ProblemTitle": "Disk"}}, "+8"),
        ({}, "+8"),
        ({"problem": {"ProblemTitle": "CPU saturation"}, "get-action": {"actionIndex": 2}}, "+4"),
        ({"problem": {"ProblemTitle": "CPU saturation"}, "get-action": {"ActionIndex": 1}}, "+2"),
    ],
)
async def test_of_several_the_one_for_the_problem_and_at_the_index_counts(
    data: dict[str, Any], value: str
) -> None:
    assert await read(LADDER, trigger("scale", "More", **data)) == value


@pytest.mark.parametrize(
    "later", [{"evaluation": {"result": "fail"}}, {"remedy": {"execution": "1"}}]
)
async def test_in_a_later_round_the_index_is_frozen_and_does_not_count(
    later: dict[str, Any],
) -> None:
    problem, index = {"problemTitle": "CPU saturation"}, {"actionIndex": 1}
    data: dict[str, Any] = {"problem": problem, "get-action": index, **later}
    sent = trigger("scale", "More", **data)
    with pytest.raises(PermanentError, match="4 entries scale 'More' with different values; give"):
        await read(LADDER, sent)


async def test_entries_that_say_the_same_need_no_choice() -> None:
    assert await read(LADDER, trigger("restart", "Again")) is None


async def test_what_is_not_there_is_told_beside_what_is() -> None:
    with pytest.raises(PermanentError) as error:
        await read(LADDER, trigger("scale", "Less"))
    assert str(error.value).startswith(
        "remediation.yaml has no entry scale 'Less'; it has scale 'More' (CPU saturation)"
    )


async def test_without_the_file_nothing_is_done() -> None:
    async def fetch(*asked: str) -> None:
        return None

    with pytest.raises(PermanentError, match=r"no remediation.yaml for sockshop/production/carts"):
        await value_of(trigger("scale", "More"), fetch)


async def test_a_fetch_that_failed_is_worth_another() -> None:
    async def fetch(*asked: str) -> bytes:
        raise TemporaryError("the resource service answers 503")

    with pytest.raises(TemporaryError, match="answers 503"):
        await value_of(trigger("scale", "More"), fetch)
