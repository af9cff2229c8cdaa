"""Files of the shapes that people have for Keptn's job-executor, webhook-service and
generic-executor. They run as they are, under the names that their remediation.yaml has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy.events import stored_trigger
from keptn_remedy.registry import of
from keptn_remedy.testing import http_peer, run_action, triggered
from keptn_remedy_actions.jobs.config import tasks_in
from keptn_remedy_actions.run_job import RunJob
from keptn_remedy_actions.webhook import Webhook, WebhookSettings
from tests.actions.driving import driven

HEAD = """\
apiVersion: v2
actions:
  - name: Tests, which are not ours
    events: [{name: sh.keptn.event.test.triggered}]
    tasks: [{name: load, image: loader, files: [load/basic.py]}]
  - name: Ours
    events:
      - name: "sh.keptn.event.action.triggered"
        jsonpath: {property: "$.data.action.action", match: "ACTION"}
      - name: sh.keptn.event.action.started
    tasks:
"""


@dataclass(frozen=True)
class Tasks:
    """Tasks of a job/config.yaml: how many there are, and what the first container gets."""

    written: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict[str, str])
    files: list[str] = field(default_factory=list[str])
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    count: int = 1


JOBS = {
    "echo": Tasks(
        """\
      - name: "Say it"
        image: "bash"
        cmd: [echo]
        args: [static]
      - name: "Show the file"
        files: [hello/world.txt]
        image: "bash"
        cmd: ["cat"]
        args: ["/keptn/hello/world.txt"]
""",
        ["echo", "static"],
        count=2,
    ),
    "scale": Tasks(
        """\
      - name: Scale with kubectl
        serviceAccount: may-scale
        env:
          - name: SCALING
            value: $.data.action.value
            valueFrom: event
        image: alpine/k8s:1.20
        cmd: ["sh"]
        args: ["-c", "N=$((${SCALING}+1)); kubectl -n ${KEPTN_PROJECT} scale --replicas=$N x"]
""",
        ["sh", "-c", "N=$((${SCALING}+1)); kubectl -n ${KEPTN_PROJECT} scale --replicas=$N x"],
        env={"SCALING": "3"},
    ),
    "print": Tasks(
        """\
      - name: Everything from everywhere
        image: alpine
        env:
          - {name: From-Label, value: "$.data.labels.build-id", valueFrom: event}
          - {name: FIRST, value: "$.data.urls[0]", valueFrom: event}
          - {name: WHOLE, value: "$.data.labels", valueFrom: event, as: json}
          - {name: AS_YAML, value: "$.data.labels", valueFrom: event, as: yaml}
          - {name: FOLDER, value: /tmp/data, valueFrom: string}
          - {name: a-secret, valueFrom: secret}
        cmd: [sh]
        args: [-c, env | sort]
""",
        ["sh", "-c", "env | sort"],
        env={
            "From-Label": "17",
            "FIRST": "http://carts",
            "WHOLE": '{"build-id":"17"}',
            "AS_YAML": "build-id: '17'\n",
            "FOLDER": "/tmp/data",  # noqa: S108  what the task says
        },
    ),
    "bounded": Tasks(
        """\
      - name: With all that a task may say
        image: registry.example.com/tool:2
        imagePullPolicy: "Always"
        workingDir: "/bin"
        files: [/load/basic.py, load/load.conf]
        annotations:
          - vault.example.com/inject: "true"
          - vault.example.com/role: "load"
        resources: {limits: {cpu: 1}, requests: {cpu: 50m, memory: 64Mi}}
        securityContext: {runAsUser: 7000, runAsGroup: 9000, readOnlyRootFilesystem: false}
        maxPollDuration: 240
        ttlSecondsAfterFinished: 0
        cmd: [ls]
""",
        ["ls"],
        files=["load/basic.py", "load/load.conf"],
        spec={"activeDeadlineSeconds": 240, "ttlSecondsAfterFinished": 0},
    ),
}


@pytest.mark.parametrize("name", JOBS)
async def test_a_config_of_the_job_executor_is_read_as_it_is(name: str) -> None:
    wanted = JOBS[name]
    event = triggered(name, "3", labels={"build-id": "17"})
    event["data"]["urls"] = ["http://carts", "http://orders"]
    async with driven(Webhook(WebhookSettings(hosts="x.example.com"))) as drive:
        context = replace(drive.context, trigger=stored_trigger(orjson.dumps(event)))
        tasks = tasks_in((HEAD + wanted.written).replace("ACTION", name).encode(), context)
    assert len(tasks) == wanted.count
    spec = tasks[0].manifest["spec"]
    [main] = spec["template"]["spec"]["containers"]
    assert [*main["command"], *main["args"]] == wanted.command
    assert {each["name"]: each["value"] for each in main["env"]} == wanted.env
    assert tasks[0].files == wanted.files
    assert {name: value for name, value in spec.items() if name != "template"} == wanted.spec


def test_the_names_of_a_remediation_stay_where_the_operator_says_whose_they_are() -> None:
    given: Any = {RunJob: tuple(JOBS)}
    found = of({RunJob: "test", Webhook: "test"}, {"WEBHOOK_HOSTS": "x.example.com"}, given=given)
    for name in JOBS:
        entry = found.entry(name)
        assert entry
        assert entry.name == "run-job"
    assert set(JOBS) < set(found.names["run-job"])


SLACK = """\
apiVersion: webhookconfig.keptn.sh/v1alpha1
kind: WebhookConfig
metadata:
  name: webhook-configuration
spec:
  webhooks:
    - type: sh.keptn.event.evaluation.finished
      requests: ["curl http://never.example.com"]
    - type: sh.keptn.event.action.triggered
      requests:
        - "curl --request POST --data '{\\"text\\":\\"{{.data.service}} is at {{.data.stage}} \\"}'
          URL/services/{{.env.secretKey}}"
      subscriptionID: 6c1d
      sendFinished: true
      sendStarted: true
"""
BRIDGE = """\
apiVersion: webhookconfig.keptn.sh/v1beta1
kind: WebhookConfig
metadata:
  name: webhook-configuration
spec:
  webhooks:
    - type: sh.keptn.event.action.triggered
      subscriptionID: 6c1d
      sendFinished: true
      envFrom:
        - name: "secretKey"
          secretRef:
            name: "hooks"
            key: "key"
      requests:
        - url: URL/one/{{.data.project}}
          method: GET
        - url: URL/two
          method: POST
          headers:
            - key: Content-Type
              value: application/json
            - key: Authorization
              value: Bearer {{.env.secretKey}}
          payload: |
            {"ref": "main", "service": "{{.data.service}}",
             "url": "{{.data.problem.ProblemURL}}"}
"""
OF_ACTION = """\
POST URL/notify HTTP/1.1
Accept: */*
Content-Type: application/json

{"project": "${data.project}", "service": "${data.service}", "why": "${data.action.name}"}
"""
WEBHOOKS = [
    ("webhook", "webhook/webhook.yaml", SLACK, ["POST /services/s3cret"]),
    ("webhook", "webhook/webhook.yaml", BRIDGE, ["GET /one/sockshop", "POST /two"]),
    ("notify", "generic-executor/action.triggered.notify.http", OF_ACTION, ["POST /notify"]),
    ("notify", "generic-executor/action.triggered.http", OF_ACTION, ["POST /notify"]),
]


@pytest.mark.parametrize(("action", "uri", "content", "sent"), WEBHOOKS)
async def test_a_file_of_requests_is_read_as_it_is(
    action: str, uri: str, content: str, sent: list[str], tmp_path: Path
) -> None:
    (tmp_path / "secretKey").write_text("s3cret")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "key").write_text("k3y")

    class Named(Webhook):
        name = action

    async with http_peer() as peer:
        event = triggered(action)
        event["data"]["action"] = {"name": "Tell them", "action": action}
        event["data"]["problem"] = {"ProblemURL": "https://x.example.com/1"}
        made = WebhookSettings(hosts="127.0.0.1", loopback_hosts="127.0.0.1", secrets_dir=tmp_path)
        resources = {uri: content.replace("URL/", f"{peer.url}/")}
        outcome = await run_action(Named, event=event, settings=made, resources=resources)
        assert outcome.result == "pass", outcome
        assert [f"{each.method} {each.path}" for each in peer.requests] == sent
        body = peer.requests[-1].body
    assert b"carts" in body
    assert b"{{" not in body
    assert b"${" not in body
