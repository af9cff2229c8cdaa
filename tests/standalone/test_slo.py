"""Objectives of slo.yaml: the lines as Keptn's lighthouse reads and scores them, what is missing,
and what they come to for a ladder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keptn_remedy.action import PermanentError
from keptn_remedy.standalone import sli, slo
from keptn_remedy.standalone.remedy_files import find
from tests.standalone.rig import REMEDIATION, SOURCES, Rig, Switch, standalone
from tests.standalone.test_commands import later

PLACE = ("sockshop", "production", "carts")


def one(
    line: str, value: float, before: Mapping[str, float] | None = None, **more: Any
) -> slo.Evaluation:
    """What one objective with one line comes to."""
    objective = {"sli": "errors", "pass": [{"criteria": [line]}], **more}
    document = {"objectives": [objective], "total_score": {"pass": "90%", "warning": "50%"}}
    return slo.evaluated(slo.objectives(document), {"errors": value}, before)


@pytest.mark.parametrize(
    ("line", "value", "result"),
    [
        ("<=0.05", 0.05, "pass"),
        ("< 0.05", 0.05, "fail"),
        (">= 10", 10.0, "pass"),
        (">10", 10.0, "fail"),
        ("=3", 3.0, "pass"),
        ("<= +10%", 110.0, "pass"),
        ("<= +10%", 110.5, "fail"),
        ("<= 10%", 110.0, "pass"),
        ("<= -10%", 90.5, "fail"),
        ("<+10", 109.0, "pass"),
        (">-10", 90.0, "fail"),
    ],
)
def test_a_line_is_read_as_lighthouse_reads_it(line: str, value: float, result: str) -> None:
    assert one(line, value, {"errors": 100.0}).result == result


def test_relative_lines_hold_at_a_first_evaluation_and_hang_on_what_a_later_one_lacks() -> None:
    assert one("<=+10%", 500.0).result == "pass"
    assert one("<=+10%", 500.0, {}).result is None


def test_weights_warnings_and_key_indicators_make_the_score() -> None:
    document: dict[str, Any] = {
        "objectives": [
            {"sli": "a", "pass": [{"criteria": ["<1"]}], "weight": 2},
            {"sli": "b", "pass": [{"criteria": ["<1"]}], "warning": [{"criteria": ["<9"]}]},
            {"sli": "c", "pass": [{"criteria": [">5", "<7"]}, {"criteria": ["=1"]}], "weight": 0},
            {"sli": "shown"},
        ],
        "total_score": {"pass": "90%", "warning": "75"},
    }
    values: dict[str, float | str] = {"a": 0.0, "b": 5.0, "c": 1.0}
    found = slo.evaluated(slo.objectives(document), values, None)
    assert (found.result, found.score) == ("warning", 87.5)
    assert found.text == (
        "warning with a score of 87.5: a 0 pass, b 5 warning, c 1 pass, shown no value info"
    )
    values |= {"b": 0.0, "c": 6.0}
    assert slo.evaluated(slo.objectives(document), values, None).result == "pass"
    document["objectives"][0]["key_sli"] = True
    values["a"] = 3.0
    assert slo.evaluated(slo.objectives(document), values, None).result == "fail"
    values["a"] = "no data"
    missing = slo.evaluated(slo.objectives(document), values, None)
    assert (missing.result, missing.text) == (None, "no value of a: no data")


@pytest.mark.parametrize(
    ("document", "result"),
    [
        ({"total_score": {"pass": "90%"}}, "fail"),
        ({"objectives": [{"sli": "a"}], "total_score": {"pass": "90%"}}, None),
        ({"objectives": [{"sli": "a", "pass": [{"criteria": ["<1"]}]}]}, None),
    ],
)
def test_what_nothing_can_be_scored_by(document: Any, result: str | None) -> None:
    assert slo.evaluated(slo.objectives(document), {"a": 0.0}, None).result == result


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"pass": [{"criteria": ["about 5"]}]}, "'about 5' is no criterion"),
        ({"pass": "<5"}, "errors, pass must be a list"),
        ({"weight": "much"}, "errors: weight must be a number"),
        ({"sli": ""}, "an objective has no sli"),
    ],
)
def test_what_keptn_could_not_use_is_a_mistake(change: Mapping[str, Any], mistake: str) -> None:
    with pytest.raises(PermanentError, match=mistake):
        one("<1", 0.0, **change)


def test_placeholders_of_queries_are_filled_in_and_no_label_ends_a_text() -> None:
    about = sli.About(*PLACE, {"pod": 'a"} or vector(0) #'}, {"handler": "Items'"})
    named = {"own": 'rate(x{p="$PROJECT",h="$handler",l="$LABEL.pod"}[$DURATION_SECONDS])'}
    assert sli.within(sli.query("own", named, about), 600) == (
        'rate(x{p="sockshop",h="Items",l="a} or vector(0) #"}[600s])'
    )
    assert sli.query("throughput", {}, about) == (
        "sum(rate(http_requests_total{job='carts-sockshop-production-canary',handler='Items'}"
        "[$DURATION_SECONDS]))"
    )
    assert "histogram_quantile(0.95," in sli.query("response_time_p95", {}, about)
    assert sli.query("unheard_of", {}, about) == ""


BY_SLO = REMEDIATION.replace(
    'name: first, value: {to: "one"}', 'name: first, value: {to: "one"}, evaluation: {slo: {}}'
).replace("name: second", "name: second, evaluation: {slo: {worse_by: 10}}")
SLO = {
    "objectives": [
        {"sli": "errors", "pass": [{"criteria": ["<5"]}], "warning": [{"criteria": ["<8"]}]},
        {"sli": "latency", "pass": [{"criteria": ["<=+10%"]}]},
    ],
    "total_score": {"pass": "90%", "warning": "75%"},
}
SLI = {"indicators": {"errors": "errors", "latency": 'slow{job="$SERVICE"}'}}


def write(folder: Path, document: Any = SLO) -> None:
    """slo.yaml of the stage, sli.yaml of the project."""
    stage = folder / "remediations/sockshop/production"
    (folder / "remediations/sockshop/prometheus").mkdir(parents=True)
    stage.mkdir()
    (stage / "slo.yaml").write_text(yaml.safe_dump(document))
    (stage.parent / "prometheus/sli.yaml").write_text(yaml.safe_dump(SLI))


def measure(rig: Rig, errors: Any, latency: Any) -> None:
    rig.world.series |= {"errors": errors, 'slow{job="carts"}': latency}


async def test_objectives_decide_at_the_end_of_the_window_and_nothing_is_asked_before(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    async with standalone(tmp_path, remediation=BY_SLO) as rig:
        measure(rig, 9, 100)
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("judging", step=5)
        (tmp_path / "remediations/sockshop/production/slo.yaml").unlink()  # this one has its own
        rig.world.asked.clear()
        measure(rig, 6, 105)
        await rig.pass_by(10)
        assert rig.world.asked == []
        await rig.until_state("helped", step=5)
        [rung] = await rig.rungs()

    assert rung.reason == "warning with a score of 75: errors 6 warning, latency 105 pass"
    numbers = rung.numbers or {}
    assert numbers["before"] == {"errors": 9.0, "latency": 100.0}
    assert numbers["values"] == {"errors": 6.0, "latency": 105.0}
    assert rung.window_ends_at == (rung.settled_at or 0) + 30


async def test_objectives_that_fail_lead_on_and_a_lost_score_is_worse(tmp_path: Path) -> None:
    write(tmp_path)
    async with standalone(tmp_path, remediation=BY_SLO) as rig:
        measure(rig, 9, 100)
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        measure(rig, 4, 200)  # 50 of 100, as before
        await rig.until_acts(2)
        measure(rig, 9, 300)
        await rig.until_state("escalated", step=5)
        first, second = await rig.rungs()
        await rig.until_holds(lambda: Switch.undone == ["two"])

    assert (first.verdict, second.verdict) == ("failed", "worse")
    assert first.reason == "fail with a score of 50: errors 4 pass, latency 200 fail"


@pytest.mark.parametrize(
    ("errors", "document", "reason"),
    [
        (None, SLO, "no value of errors: no data"),
        ("NaN", SLO, "no value of errors: no data: the answer is nan"),
        ([1, 2], SLO, "no value of errors: 2 series where one number is meant"),
        (4, {**SLO, "total_score": {}}, "slo.yaml has no total_score to pass"),
        (4, {"objectives": [{"sli": "errors", "pass": [{"criteria": ["?"]}]}]}, "no criterion"),
        (4, None, "there is no slo.yaml for sockshop/production/carts"),
    ],
)
async def test_objectives_that_cannot_be_told_help_nobody(
    tmp_path: Path, errors: Any, document: Any, reason: str
) -> None:
    if document:
        write(tmp_path, document)
    async with standalone(tmp_path, remediation=BY_SLO) as rig:
        measure(rig, 4, 100)
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        measure(rig, errors, 100)
        episode = await rig.until_state("escalated", step=5)

    assert reason in (episode.reason or "")
    assert Switch.undone == []


def test_the_nearest_sli_yaml_wins_by_indicator(tmp_path: Path) -> None:
    write(tmp_path)
    root = tmp_path / "remediations"
    (root / "sockshop/remediation.yaml").write_text(BY_SLO)
    nearest = root.joinpath(*PLACE, "prometheus")
    nearest.mkdir(parents=True)
    (nearest / "sli.yaml").write_text(yaml.safe_dump({"indicators": {"errors": "other"}}))
    entry = find(root, PLACE, ("TooManyErrors",)).entry
    assert entry
    assert entry["rungs"][0]["criterion"]["slo"]["queries"] == {
        "errors": "other",
        "latency": 'slow{job="carts"}',
    }


async def test_remedy_judge_shows_what_objectives_come_to(tmp_path: Path) -> None:
    write(tmp_path)
    async with standalone(tmp_path, sources=SOURCES, remediation=BY_SLO) as rig:
        measure(rig, 6, 100)
        file = tmp_path / "remediations/sockshop/remediation.yaml"
        where = {
            "REMEDY_SOURCES": str(tmp_path / "sources.yaml"),
            "REMEDY_REMEDIATIONS": str(tmp_path / "remediations"),
        }
        at = "2026-03-02T12:00:00Z"
        _, bare, _ = await later("judge", str(file), **where)
        code, said, _ = await later(
            "judge", str(file), "--place", "/".join(PLACE), "--at", at, **where
        )

    assert "can't tell: there is no slo.yaml for sockshop" in bare
    assert code == 0
    assert "switch (slo): good: warning with a score of 75: errors 6 warning" in said.replace(
        "\n ", ""
    )
