"""webhook reads the files of Keptn's webhook-service and generic-executor as they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keptn_remedy import Outcome
from keptn_remedy.testing import HttpPeer, http_peer, run_action, triggered
from keptn_remedy_actions.webhook import Webhook, WebhookSettings

HTTP_FILE = """\
# Tells the operators' board
POST URL/board/${data.project}?type=${type}
Accept: application/json
Cache-Control: no-cache
# A comment between headers
Content-Type: application/cloudevents+json
X-Callback: http://board.example.com:8080/x

{
  "contenttype": "application/json",
  "project": "${data.project}", "stage": "${data.stage}",
  "commit": "${data.label.gitcommit}",
  "token": "${env.testtoken}",
  "context": "${shkeptncontext}",
  "message": "${data.action.value.Message}",
  "template": "{{ not ours }}"
}
"""
OLD_HTTP_FILE = """\
POST URL/$PROJECT/$STAGE
Content-Type: application/json

{"service": "$SERVICE", "label": "$LABEL_gitcommit", "token": "$ENV_testtoken", "cost": "$5"}
"""
ALPHA = """\
apiVersion: webhookconfig.keptn.sh/v1alpha1
kind: WebhookConfig
metadata:
  name: webhook-configuration
spec:
  webhooks:
    - type: sh.keptn.event.deployment.triggered
      requests: ["curl http://never.example.com"]
    - type: sh.keptn.event.action.triggered
      subscriptionID: 5c1e6b0a
      sendFinished: true
      envFrom:
        - name: secretKey
          secretRef: {name: my-k8s-secret, key: my-key}
      requests:
        - "curl --header 'x-token: {{.env.secretKey}}' URL/project/{{ .data.project }}"
        - >-
          curl -sS -X PUT -H 'Content-Type: application/json' -u 'me:{{.env.secretKey}}'
          --data '{"stage": "{{.data.stage}}"}' --max-time=5 URL/stage
        - "curl -d a=1 -d b=2 --url URL/form"
"""
BETA = """\
apiVersion: webhookconfig.keptn.sh/v1beta1
kind: WebhookConfig
metadata: {name: webhook-configuration}
spec:
  webhooks:
    - type: sh.keptn.event.action.triggered
      subscriptionID: 5c1e6b0a
      sendStarted: true
      envFrom:
        - {name: key, secretRef: {name: my-k8s-secret, key: my-key}}
      requests:
        - url: URL/hook/{{.data.service}}
          method: POST
          headers:
            - {key: x-token, value: "Bearer {{.env.key}}"}
            - {key: content-type, value: application/json}
          payload: '{"text": "{{.data.problem.ProblemTitle}}"}'
          options: "--silent --max-time 7"
"""


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "testtoken").write_text("t0ken")
    (tmp_path / "my-k8s-secret").mkdir()
    (tmp_path / "my-k8s-secret" / "my-key").write_text("k3y")
    return tmp_path


async def ran(uri: str, content: str, peer: HttpPeer, secrets: Path, **sent: str) -> Outcome:
    """The action with one file in Keptn's repository, which its value need not name."""
    name = sent.get("action", "webhook")
    event = triggered(name, {"Message": "hold on"}, labels={"gitcommit": "a1b2c3"})
    event["data"]["action"]["value"] = {"file": sent["file"]} if "file" in sent else {}
    event["data"]["action"]["value2"] = {"Message": "hold on"}
    made = WebhookSettings(hosts="127.0.0.1", loopback_hosts="127.0.0.1", secrets_dir=secrets)
    text = content.replace("URL", peer.url)
    return await run_action(Webhook, event=event, settings=made, resources={uri: text})


async def test_a_http_file_of_the_generic_executor(peer: HttpPeer, secrets: Path) -> None:
    text = HTTP_FILE.replace("data.action.value.Message", "data.action.value2.Message")
    outcome = await ran(
        "generic-executor/action.triggered.generic.http", text, peer, secrets, action="generic"
    )
    assert outcome.result == "pass", outcome
    [request] = peer.requests
    assert (request.method, request.path) == ("POST", "/board/sockshop")
    assert request.query == {"type": "sh.keptn.event.action.triggered"}
    assert request.headers["Content-Type"] == "application/cloudevents+json"
    assert request.headers["X-Callback"] == "http://board.example.com:8080/x"
    said = request.json
    assert said.pop("context")
    assert said == {
        "contenttype": "application/json",
        "project": "sockshop",
        "stage": "production",
        "commit": "a1b2c3",
        "token": "t0ken",
        "message": "hold on",
        "template": "{{ not ours }}",
    }


async def test_a_http_file_for_an_old_release(peer: HttpPeer, secrets: Path) -> None:
    outcome = await ran("mine.http", OLD_HTTP_FILE, peer, secrets, file="mine.http")
    assert outcome.result == "pass", outcome
    [request] = peer.requests
    assert request.path == "/sockshop/production"
    assert request.json == {"service": "carts", "label": "a1b2c3", "token": "t0ken", "cost": "$5"}


async def test_a_http_file_of_one_line_is_a_get(peer: HttpPeer, secrets: Path) -> None:
    await ran("mine.http", "URL/ping\n", peer, secrets, file="mine.http")
    assert [(each.method, each.path) for each in peer.requests] == [("GET", "/ping")]


async def test_curl_commands_of_the_webhook_service(peer: HttpPeer, secrets: Path) -> None:
    outcome = await ran("webhook/webhook.yaml", ALPHA, peer, secrets)
    assert outcome.result == "pass", outcome
    first, second, third = peer.requests
    assert (first.method, first.path) == ("GET", "/project/sockshop")
    assert first.headers["x-token"] == "k3y"
    assert (second.method, second.json) == ("PUT", {"stage": "production"})
    assert second.headers["Authorization"] == "Basic bWU6azN5"
    assert (third.method, third.body) == ("POST", b"a=1&b=2")
    assert third.headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_requests_of_the_newer_webhook_service(peer: HttpPeer, secrets: Path) -> None:
    outcome = await ran("webhook.yaml", BETA, peer, secrets)
    assert outcome.result == "pass", outcome
    [request] = peer.requests
    assert (request.method, request.path) == ("POST", "/hook/carts")
    assert request.headers["x-token"] == "Bearer k3y"
    assert request.headers["Content-Type"] == "application/json"
    assert request.json == {"text": "Failure rate increase"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-sS", "-L", "the option -L of curl is not supported"),
        ("-sS", "-k", "the option -k of curl is not supported"),
        ("-sS", "-o /tmp/x", "the option -o of curl is not supported"),
        ("-d a=1", "-d @/etc/passwd", "files can't be sent"),
        ("{{ .data.project }}", "{{range .data}}{{end}}", "fields of the event only"),
        ("{{.env.secretKey}}", "{{.env.HOME}}", "env.HOME is not in envFrom"),
        ("curl -d", "sh -c", "must begin with curl"),
        ("--url URL/form", "", "must have one address"),
        ("action.triggered", "test.triggered", "it has 0 webhooks of type"),
        ("v1alpha1", "v2", "apiVersion"),
        ("spec:", "spec: [", "it is not YAML"),
    ],
)
async def test_what_is_not_supported_is_named(
    peer: HttpPeer, secrets: Path, old: str, new: str, message: str
) -> None:
    outcome = await ran("webhook.yaml", ALPHA.replace(old, new), peer, secrets)
    assert outcome.status == "errored"
    assert message in outcome.message
    assert peer.requests == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no request"),
        ("POST URL\nno header\n", "'no header' is not a header"),
        ("POST URL/${data.gone}\n", "has no attribute 'gone'"),
        ("POST URL/${env.gone}\n", "the secret gone can't be read"),
    ],
)
async def test_a_broken_http_file_is_told(
    peer: HttpPeer, secrets: Path, content: str, message: str
) -> None:
    outcome = await ran("mine.http", content, peer, secrets, file="mine.http")
    assert (outcome.status, message in outcome.message) == ("errored", True), outcome
    assert peer.requests == []
