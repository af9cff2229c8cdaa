"""The alerts fire when they should, as Prometheus itself evaluates them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.render import DEPLOY
from keptn_remedy.support.metrics import Metrics
from tests.deploy.charts import Json, needs_helm, the

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on the PATH (Debian: prometheus)"
)
OURS = 'namespace="keptn",job="keptn-remedy"'
UP = f"up{{{OURS}}}"
OPEN = f"remedy_oldest_open_execution_seconds{{{OURS}}}"
UNSENT = f"remedy_oldest_unsent_report_seconds{{{OURS}}}"
JOURNAL = f"remedy_journal_failed{{{OURS}}}"
PARKED = f"remedy_reports_parked{{{OURS}}}"
BLOCKED = f"remedy_reports_blocked{{{OURS}}}"
LOST = f'remedy_events_received_total{{{OURS},answer="unavailable"}}'
FAILED = f'remedy_executions_finished_total{{{OURS},action="scale",result="fail"}}'
LOOP_BLOCKED = f'remedy_event_loop_blocked_total{{{OURS},action="scale"}}'
REJECTED = f"remedy_policy_rejected{{{OURS}}}"
PAUSED = f"remedy_paused{{{OURS}}}"
WAITING = f"remedy_executions_waiting{{{OURS}}}"
UNNOTIFIED = f'remedy_oldest_unsent_notification_seconds{{{OURS},channel="slack"}}'
NOT_NOTIFIED = f'remedy_notifications_total{{{OURS},channel="slack",answer="given_up"}}'
REFUSED = f'remedy_refusals_total{{{OURS},rail="cooldown",rule="a",action="scale"}}'
REFUSED_TOO = f'remedy_refusals_total{{{OURS},rail="cooldown",rule="b",action="restart"}}'
ON_PURPOSE = [
    f'remedy_refusals_total{{{OURS},rail="{rail}",rule="a",action="scale"}}'
    for rail in ("pause", "decision")
]
SUSPENDED = f'remedy_refusals_total{{{OURS},rail="suspended",rule="a",action="scale"}}'
NOT_UNDONE = f'remedy_undos_total{{{OURS},action="scale",state="refused"}}'
UNDONE = f'remedy_undos_total{{{OURS},action="scale",state="done"}}'
CUT_OFF = f'remedy_http_refused_total{{{OURS},port="event",reason="slow"}}'
OTHERS = [
    f'remedy_http_refused_total{{{OURS},port="ops",reason="host"}}',
    f'remedy_http_refused_total{{{OURS},port="ops",reason="full"}}',
]
GUESSED = f'remedy_operator_tokens_refused_total{{{OURS},answer="limited"}}'
PASSED = f'remedy_executions_finished_total{{{OURS},action="scale",result="pass"}}'


def rule() -> Json:
    (_, found) = yaml.safe_load_all((DEPLOY / "monitoring.yaml").read_text("utf-8"))
    return dict(found)


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": rule()["spec"]["groups"]}))
    return path


@needs_promtool
def test_prometheus_takes_the_rules(rules: Path) -> None:
    found = promtool("check", "rules", rules)
    assert (found.returncode, found.stderr) == (0, "")
    assert "19 rules found" in found.stdout


@needs_promtool
@pytest.mark.parametrize(
    ("series", "minutes", "alerts"),
    [
        ({}, 30, []),
        ({OPEN: "3600x60", UNSENT: "300x60", PARKED: "0x60", PASSED: "0+9x60"}, 30, []),
        ({OPEN: "3601x60"}, 30, ["RemedyExecutionUnfinished"]),
        ({UNSENT: "301x60"}, 30, ["RemedyReportUnsent"]),
        ({PARKED: "1x60"}, 30, ["RemedyReportsParked"]),
        ({BLOCKED: "5x60"}, 30, ["RemedyReportsBlocked"]),
        ({BLOCKED: "0x29 5x0 0x60"}, 30, []),
        ({UP: "0x60"}, 4, []),
        ({UP: "0x60"}, 30, ["RemedyDown"]),
        ({UP: "1x9 _x60"}, 30, ["RemedyDown"]),
        ({JOURNAL: "0x60"}, 30, []),
        ({JOURNAL: "_x15 1x60"}, 30, ["RemedyJournalFailed"]),
        ({LOST: "_x25 1x60"}, 30, ["RemedyEventsLost"]),
        ({LOST: "1x25 2x60"}, 30, ["RemedyEventsLost"]),
        ({LOST: "1x60"}, 30, []),
        ({FAILED: "_x25 1x60"}, 30, ["RemedyActionsFail"]),
        ({FAILED: "1x50 2x60"}, 60, ["RemedyActionsFail"]),
        ({FAILED: "1x100"}, 60, []),
        ({REJECTED: "0x60", PAUSED: "0x120", WAITING: "0x60", UNDONE: "0+1x60"}, 60, []),
        ({LOOP_BLOCKED: "_x10 1x50"}, 30, ["RemedyEventLoopBlocked"]),
        ({REJECTED: "1x60"}, 30, ["RemedyPolicyRejected"]),
        ({PAUSED: "1x120"}, 59, []),
        ({PAUSED: "1x120"}, 61, ["RemedyPaused"]),
        ({WAITING: "_x20 3x9 0x60"}, 30, []),
        ({WAITING: "_x15 3x60"}, 30, ["RemedyExecutionsWaiting"]),
        ({WAITING: "_x29 3x60"}, 30, ["RemedyExecutionsWaiting"]),
        ({WAITING: "_x30 3x60"}, 30, []),
        ({UNNOTIFIED: "600x60"}, 30, []),
        ({UNNOTIFIED: "601x60"}, 30, ["RemedyNotificationsUnsent"]),
        ({NOT_NOTIFIED: "_x25 1x60"}, 30, ["RemedyNotificationsLost"]),
        ({NOT_NOTIFIED: "1x100"}, 60, []),
        ({REFUSED: "0+1x60"}, 5, []),
        ({REFUSED: "_x25 6x60"}, 30, ["RemedyRefusals"]),
        ({REFUSED: "2x25 8x60"}, 30, ["RemedyRefusals"]),
        ({REFUSED: "_x25 3x60", REFUSED_TOO: "_x25 3x60"}, 30, ["RemedyRefusals"]),
        ({REFUSED: "_x25 5x60"}, 30, []),
        (dict.fromkeys(ON_PURPOSE, "0+9x60"), 30, []),
        ({SUSPENDED: "_x25 1x60"}, 30, ["RemedyPersonWanted"]),
        ({SUSPENDED: "0+1x60"}, 30, ["RemedyPersonWanted"]),
        ({SUSPENDED: "1x100"}, 60, []),
        ({NOT_UNDONE: "_x25 1x60"}, 30, ["RemedyUndosFail"]),
        ({NOT_UNDONE: "1x50 2x60"}, 60, ["RemedyUndosFail"]),
        ({NOT_UNDONE: "1x100"}, 60, []),
        ({CUT_OFF: "_x20 6x60"}, 25, ["RemedyClientsRefused"]),
        ({CUT_OFF: "9x20 15x60"}, 25, ["RemedyClientsRefused"]),
        ({CUT_OFF: "_x20 5x60"}, 25, []),
        ({CUT_OFF: "9x60"}, 25, []),
        (dict(zip([CUT_OFF, *OTHERS], ["_x20 4x60", "0+9x60", "_x20 4x60"], strict=True)), 25, []),
        ({GUESSED: "0x20 9x60"}, 25, ["RemedyOperatorTokenGuessed"]),
        ({GUESSED: "0x20 4x60"}, 25, []),
    ],
    ids=str,
)
def test_an_alert_fires_when_it_should(
    series: dict[str, str], minutes: int, alerts: list[str], rules: Path
) -> None:
    present = {UP: "1x200", **series}
    inputs = [{"series": name, "values": values} for name, values in present.items()]
    expected = [{"eval_time": f"{minutes}m", **each} for each in _expected(alerts)]
    test = {"interval": "1m", "input_series": inputs, "alert_rule_test": expected}
    path = rules.with_name("test.yaml")
    path.write_text(yaml.safe_dump({"rule_files": [rules.name], "tests": [test]}))
    found = promtool("test", "rules", path)
    assert found.returncode == 0, found.stdout + found.stderr


def _expected(firing: list[str]) -> list[Json]:
    """What promtool is to find for each alert: its labels and summary, or nothing."""
    expected = []
    for each in rule()["spec"]["groups"][0]["rules"]:
        name, summary = each["alert"], each["annotations"]["summary"]
        labels = {**each["labels"], **_labels(name)}
        for label, value in labels.items():
            summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
        annotations = {**each["annotations"], "summary": summary}
        alert = {"exp_labels": labels, "exp_annotations": annotations}
        expected.append({"alertname": name, "exp_alerts": [alert] if name in firing else []})
    return expected


def _labels(alert: str) -> dict[str, str]:
    more = {
        "RemedyActionsFail": {"action": "scale"},
        "RemedyClientsRefused": {"port": "event", "reason": "slow"},
        "RemedyEventLoopBlocked": {"action": "scale"},
        "RemedyEventsLost": {"answer": "unavailable"},
        "RemedyNotificationsLost": {"channel": "slack", "answer": "given_up"},
        "RemedyNotificationsUnsent": {"channel": "slack"},
        "RemedyPersonWanted": {"action": "scale", "rail": "suspended"},
        "RemedyRefusals": {"rail": "cooldown"},
        "RemedyUndosFail": {"action": "scale", "state": "refused"},
    }
    return {"namespace": "keptn", "job": "keptn-remedy", **more.get(alert, {})}


def test_the_rules_ask_for_metrics_that_exist() -> None:
    exposed = Metrics("1").exposition()[0].decode()
    asked = {
        name
        for each in rule()["spec"]["groups"][0]["rules"]
        for name in re.findall(r"\bremedy_\w+", each["expr"])
    }
    assert len(asked) == 17
    assert {name for name in asked if f"# TYPE {name} " not in exposed} == set()


def test_each_alert_is_explained() -> None:
    page = (DEPLOY.parent / "docs" / "operating.md").read_text("utf-8")
    names = [each["alert"] for each in rule()["spec"]["groups"][0]["rules"]]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_each_alert_leads_to_its_runbook_and_each_runbook_has_its_alert() -> None:
    page = (DEPLOY.parent / "docs" / "runbooks.md").read_text("utf-8")
    sections = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    rules = rule()["spec"]["groups"][0]["rules"]
    assert {name for name, _ in sections} == {each["alert"] for each in rules}
    for each in rules:
        anchor = each["alert"].lower()  # as GitHub and MkDocs make it of the heading
        assert each["annotations"]["runbook_url"] == f"docs/runbooks.md#{anchor}"
    for name, text in sections:
        for part in ("**Symptom.**", "**Command.**\n\n```sh\n", "**Decision.**"):
            assert part in text, (name, part)


@needs_helm
def test_runbooks_may_be_read_elsewhere() -> None:
    rules = {"enabled": True, "runbooks": "https://wiki.example/remedy"}
    found = the("PrometheusRule", {"monitoring": {"rules": rules}})["spec"]["groups"][0]["rules"]
    down = next(each for each in found if each["alert"] == "RemedyDown")
    assert down["annotations"]["runbook_url"] == "https://wiki.example/remedy#remedydown"


@needs_helm
def test_the_rules_are_about_this_release_alone() -> None:
    values: Json = {
        "fullnameOverride": "remedies",
        "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}},
    }
    asked = [each["expr"] for each in the("PrometheusRule", values)["spec"]["groups"][0]["rules"]]
    assert all('{namespace="keptn",job="remedies"' in expression for expression in asked)
    monitor, service = the("ServiceMonitor", values), the("Service", values)
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["endpoints"][0]["port"] in [p["name"] for p in service["spec"]["ports"]]
