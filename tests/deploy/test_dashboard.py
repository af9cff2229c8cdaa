"""The dashboard asks for metrics and labels that there are, and for all that alerts are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.render import DEPLOY
from keptn_remedy.support.metrics import Metrics
from tests.deploy.test_alerts import needs_promtool, promtool

BOARD: Any = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
# Added by Prometheus, and by histograms.
ADDED = {"namespace", "job", "le"}


def expressions() -> Iterator[str]:
    yield from (target["expr"] for each in BOARD["panels"] for target in each.get("targets", []))
    yield from (each["expr"] for each in BOARD["annotations"]["list"])
    yield from (each["definition"] for each in BOARD["templating"]["list"] if "definition" in each)


def labels() -> dict[str, set[str]]:
    """The labels of each series, by its name."""
    metrics = Metrics("1")
    found: dict[str, set[str]] = {}
    for collector in list(metrics.registry._collector_to_names):
        names = metrics.registry._collector_to_names[collector]
        found |= {name: {*collector._labelnames} for name in names}  # type: ignore[attr-defined]
    return found


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    asked = {name for each in expressions() for name in re.findall(r"\bremedy_\w+", each)}
    assert len(asked) > 20
    assert asked - set(labels()) == set()


def test_it_asks_for_labels_that_these_metrics_have() -> None:
    known = labels()
    for each in expressions():
        has = ADDED.union(*(known[name] for name in re.findall(r"\bremedy_\w+", each)))
        grouped = [name for by in re.findall(r"by \(([^)]*)\)", each) for name in by.split(", ")]
        matched = re.findall(r"(\w+)=~?\"", each)
        shown = re.findall(r"label_values\(.*, (\w+)\)", each)
        assert {*grouped, *matched, *shown} - has == set(), each


def test_legends_show_labels_that_the_query_keeps() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            kept = {
                n for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for n in by.split(", ")
            }
            assert {*re.findall(r"{{(\w+)}}", target["legendFormat"])} <= kept, panel["title"]


def test_each_query_is_about_the_chosen_installation() -> None:
    asked = [
        selector
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
        for selector in re.findall(r"remedy_\w+(?:{([^}]*)})?", target["expr"])
    ]
    assert all(selector.startswith('namespace="$namespace",job="$job"') for selector in asked)


def test_what_an_alert_is_about_is_on_the_dashboard() -> None:
    (_, rule) = yaml.safe_load_all((DEPLOY / "monitoring.yaml").read_text("utf-8"))
    shown = " ".join(expressions())
    for each in rule["spec"]["groups"][0]["rules"]:
        for name in re.findall(r"\bremedy_\w+", each["expr"]):
            assert name in shown, each["alert"]


@needs_promtool
def test_prometheus_can_read_each_query(tmp_path: Path) -> None:
    filled = [
        each.replace("$__rate_interval", "5m")
        for each in expressions()
        if not each.startswith("label_values")
    ]
    rules = [{"record": f"query:{n}", "expr": each} for n, each in enumerate(filled)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    found = promtool("check", "rules", path)
    assert found.returncode == 0, found.stderr


def test_panels_have_places_and_ids_of_their_own() -> None:
    places = [
        (x, y)
        for panel in BOARD["panels"]
        for p in [panel["gridPos"]]
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) == 23
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
