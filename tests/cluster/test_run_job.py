"""run-job on a real API server: one Job for each execution, whatever happens in between."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keptn_remedy import Denied, Outcome, PermanentError
from keptn_remedy.testing import run_action, triggered
from keptn_remedy_actions.jobs.value import RunJobSettings
from keptn_remedy_actions.run_job import RunJob
from tests.actions.driving import Driven, driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.client import Json
from tests.cluster.namespace import Namespace
from tests.cluster.test_rights import rules_for
from tests.deploy.charts import needs_helm
from tests.waiting import until

PAGE = Path(__file__).parents[2] / "docs/actions/run-job.md"
TEMPLATE = """\
apiVersion: batch/v1
kind: Job
metadata: {labels: {team: shop}}
spec:
  template:
    spec:
      containers:
        - name: dump
          image: pause:3.9
          command: [dump]
          env: [{name: DEPTH, value: "1"}]
"""
CONFIG = """\
apiVersion: v2
actions:
  - name: Never
    events: [{name: sh.keptn.event.test.triggered}]
    tasks: [{name: never, image: evil}]
  - name: Print files
    silent: true
    events:
      - name: "sh.keptn.event.*.triggered"
        jsonpath: {property: $.data.action.action, match: run-job}
    tasks:
      - name: Show the files
        files: [/locust/basic.py, /charts]
        image: pause:3.10
        serviceAccount: anyone
        maxPollDuration: 120
        workingDir: /bin
        cmd: [ls]
        args: ["-l", $(HOST)]
        env:
          - {name: HOST, value: "$.data.labels.host", valueFrom: event}
          - {name: EVENT, value: "$.data.labels", valueFrom: event, as: json}
          - {name: PLACE, value: /tmp, valueFrom: string}
          - {name: locust-secret, valueFrom: secret}
        resources: {limits: {cpu: 1}, requests: {cpu: 50m}}
"""


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "dump.yaml").write_text(TEMPLATE)
    return folder


def settings(namespace: Namespace, templates: Path | None, **others: Any) -> RunJobSettings:
    given: dict[str, Any] = {
        "kubeconfig": str(namespace.cluster.kubeconfig),
        "namespace_template": namespace.name,
        "run_job_images": "pause:*",
        "run_job_templates": templates,
        **others,
    }
    return RunJobSettings(**given)


@asynccontextmanager
async def acting(
    namespace: Namespace, templates: Path | None = None, *, seconds: float = 60, **others: Any
) -> AsyncIterator[Driven]:
    action = RunJob(settings(namespace, templates, **others))
    async with driven(action, seconds=seconds) as drive:
        try:
            yield drive
        finally:
            await action.close()


def path(namespace: Namespace, name: str = "") -> str:
    return f"/apis/batch/v1/namespaces/{namespace.name}/jobs{name and '/'}{name}"


async def jobs(namespace: Namespace) -> list[Json]:
    return await namespace.cluster.items(path(namespace))


async def end(namespace: Namespace, phase: str = "Succeeded") -> None:
    """The pods of all jobs that run end so."""

    async def is_done() -> bool:
        pods = await namespace.items("pods", labelSelector="job-name")
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        for pod in running:
            name = pod["metadata"]["name"]
            await namespace.patch("pods", name, {"status": {"phase": phase}}, "status")
        return bool(running)

    await until(is_done)


async def ended(namespace: Namespace, running: asyncio.Task[Outcome], phase: str) -> Outcome:
    while not running.done():
        await end(namespace, phase)
        await asyncio.wait([running], timeout=0.3)
        if not await jobs_that_run(namespace):
            break
    return await running


async def jobs_that_run(namespace: Namespace) -> list[Json]:
    return [job for job in await jobs(namespace) if not job["status"].get("conditions")]


async def test_a_template_runs_as_one_bounded_job_without_a_token(
    namespace: Namespace, templates: Path
) -> None:
    async with acting(namespace, templates) as drive:
        plan = await drive.plan({"template": "dump", "variables": {"DEPTH": 3}})
        assert await jobs(namespace) == []
        await drive.apply(plan)
        await drive.apply(plan)  # as after a crash
        [job] = await jobs(namespace)
        await end(namespace)
        outcome = await drive.verify(plan)
    assert outcome.result == "pass"
    assert outcome.message == f"job {job['metadata']['name']} succeeded"
    spec = job["spec"]
    assert spec["activeDeadlineSeconds"] == 300
    # Servers before 1.21 drop it.
    assert plan.memo["jobs"][0]["manifest"]["spec"]["ttlSecondsAfterFinished"] == 600
    assert spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    [main] = pod["containers"]
    assert main["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    told = {each["name"]: each["value"] for each in main["env"]}
    assert told["DEPTH"] == "3"
    assert told["KEPTN_SERVICE"] == "carts"
    assert job["metadata"]["labels"]["team"] == "shop"


async def test_a_job_that_fails_fails_the_execution(namespace: Namespace, templates: Path) -> None:
    async with acting(namespace, templates) as drive:
        plan = await drive.plan({"template": "dump"})
        await drive.apply(plan)
        await end(namespace, "Failed")
        outcome = await drive.verify(plan)
        assert outcome.result == "fail"
        assert "failed: Job has reached the specified backoff limit" in outcome.message
        with pytest.raises(Denied, match="has ended, and what a job did can't be taken back"):
            await drive.undo(plan)


async def test_a_job_that_runs_too_long_is_told_and_deleted_with_its_pods(
    namespace: Namespace, templates: Path
) -> None:
    async with acting(namespace, templates, seconds=5.5) as drive:
        plan = await drive.plan({"template": "dump"})
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert outcome.result == "fail"
        assert "has not ended in time" in outcome.message
        assert "stopped and deleted" in await drive.undo(plan)

    async def is_gone() -> bool:
        return not await jobs(namespace) and not await namespace.items("pods")

    await until(is_gone)


async def test_a_job_that_is_gone_is_not_run_again(namespace: Namespace, templates: Path) -> None:
    async with acting(namespace, templates) as drive:
        plan = await drive.plan({"template": "dump"})
        await drive.apply(plan)
        [job] = await jobs(namespace)
        await namespace.cluster.delete(
            path(namespace, job["metadata"]["name"]), propagationPolicy="Background"
        )

        async def is_gone() -> bool:
            return not await jobs(namespace)

        await until(is_gone)
        with pytest.raises(PermanentError, match="is gone; whether it succeeded is not known"):
            await drive.apply(plan)


async def test_a_job_of_somebody_else_is_left_alone(namespace: Namespace, templates: Path) -> None:
    async with acting(namespace, templates) as drive:
        plan = await drive.plan({"template": "dump"})
        await drive.apply(plan)
        [job] = await jobs(namespace)
        foreign = {"metadata": {"annotations": {"keptn-remedy/execution": "another"}}}
        await namespace.cluster.patch(path(namespace, job["metadata"]["name"]), foreign)
        for step in (drive.apply, drive.undo):
            with pytest.raises(PermanentError, match="is not ours"):
                await step(plan)
    assert len(await jobs(namespace)) == 1


async def test_a_dry_run_creates_nothing(namespace: Namespace, templates: Path) -> None:
    made = settings(namespace, templates)
    outcome = await run_action(RunJob, {"template": "dump"}, settings=made, dry_run=True)
    assert "job: null -> pause:3.9 dump" in outcome.message
    assert await jobs(namespace) == []


async def test_the_config_of_the_job_executor_runs_as_it_is(namespace: Namespace) -> None:
    event = triggered("run-job", labels={"host": "http://carts $(PLACE)"})
    files = {
        "job/config.yaml": CONFIG,
        "locust/basic.py": "print(1)",
        "charts/carts/Chart.yaml": "name: carts",
        "charts-old/Chart.yaml": "name: old",
    }
    running = asyncio.create_task(
        run_action(RunJob, settings=settings(namespace, None), event=event, resources=files)
    )
    outcome = await ended(namespace, running, "Succeeded")
    assert outcome.result == "pass", outcome
    [job] = await jobs(namespace)
    assert job["spec"]["activeDeadlineSeconds"] == 120
    pod = job["spec"]["template"]["spec"]
    [main] = pod["containers"]
    assert (main["command"], main["workingDir"]) == (["ls"], "/bin")
    told = {each["name"]: each["value"] for each in main["env"]}
    assert told["HOST"] == "http://carts $$(PLACE)"
    assert told["EVENT"] == '{"host":"http://carts $$(PLACE)"}'
    assert told["LABELS_HOST"] == "http://carts $(PLACE)"
    assert main["envFrom"] == [{"secretRef": {"name": "locust-secret"}}]
    assert pod.get("serviceAccountName", "default") == "default"
    [volume] = pod["volumes"]
    paths = {item["key"]: item["path"] for item in volume["configMap"]["items"]}
    maps = f"/api/v1/namespaces/{namespace.name}/configmaps/{job['metadata']['name']}"
    found = await namespace.cluster.get(maps)
    given = {paths[key]: b64decode(text) for key, text in found["binaryData"].items()}
    assert given == {"locust/basic.py": b"print(1)", "charts/carts/Chart.yaml": b"name: carts"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image: pause:3.10", "image: evil:1", "RUN_JOB_IMAGES does not allow the image evil:1"),
        ("workingDir: /bin", "namespace: kube-system", "names the namespace kube-system"),
        ("workingDir: /bin", "securityContext: {privileged: true}", "securityContext.privileged"),
        ("/locust/basic.py", "../../etc/passwd", "is no file or folder of Keptn's repository"),
        ("/locust/basic.py", "/loc", "there is no loc for "),
        ("/locust/basic.py", "/loc", "there is nothing in a folder loc for "),
        ("$.data.labels.host", "$.data.gone", "the event has nothing at $.data.gone"),
        ("$.data.labels.host", "$..host", "is not a path"),
        ("apiVersion: v2", "apiVersion: v1", "apiVersion"),
        ("match: run-job", "match: other", "it has 0 tasks for sh.keptn.event.action.triggered"),
        ("actions:", "actions: [", "it is not YAML"),
    ],
)
async def test_what_is_not_allowed_or_understood_is_told(
    namespace: Namespace, old: str, new: str, message: str
) -> None:
    event = triggered("run-job", labels={"host": "a"})
    files = {"job/config.yaml": CONFIG.replace(old, new), "locust/basic.py": "", "charts/a": ""}
    made = settings(namespace, None)
    outcome = await run_action(RunJob, settings=made, event=event, resources=files)
    assert outcome.result == "fail"
    assert message in outcome.message
    assert await jobs(namespace) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"template": "none"}, "no template none; there are: dump"),
        ({"template": "../dump"}, "value.template"),
        ({"template": "dump", "variables": {"X": "1"}}, "lists no variable X; there are: DEPTH"),
        ({"template": "dump", "image": "evil"}, "image"),
        ({"variables": {"X": "1"}}, "need a `template`"),
        ({"template": "dump", "files": ["gone"]}, "gone"),
        ("dump", "value"),
    ],
)
async def test_a_bad_value_is_errored(
    namespace: Namespace, templates: Path, value: Any, message: str
) -> None:
    made = settings(namespace, templates)
    outcome = await run_action(RunJob, value, settings=made)
    assert (outcome.status, message in outcome.message) == ("errored", True), outcome


@needs_helm
async def test_what_is_missing_is_named_and_the_role_is_enough(
    namespace: Namespace, templates: Path, tmp_path: Path
) -> None:
    nobody = await kubeconfig_of(namespace, await service_account(namespace, name="no"), tmp_path)
    async with acting(namespace, templates, kubeconfig=str(nobody)) as drive:
        refusal = await drive.refusal({"template": "dump"})
    assert f"not allowed: create jobs.batch in {namespace.name}" in refusal
    account = await service_account(namespace, rules_for("run-job"))
    allowed = await kubeconfig_of(namespace, account, tmp_path)
    async with acting(namespace, templates, kubeconfig=str(allowed)) as drive:
        plan = await drive.plan({"template": "dump"})
        await drive.apply(plan)
        await end(namespace)
        assert (await drive.verify(plan)).result == "pass"
        assert not [line for line in drive.logged.calls if "not allowed" in str(line)]


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("kill", range(4))
async def test_a_kill_at_any_moment_leaves_one_job(
    namespace: Namespace, templates: Path, kill: int
) -> None:
    async with acting(namespace, templates) as drive:
        plan = await drive.plan({"template": "dump"})
        memory, left = drive.context.memory, kill

        class Dying:
            async def get(self, key: str) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return await memory.get(key)

            async def put(self, key: str, value: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                await memory.put(key, value)

        dying = replace(drive, context=replace(drive.context, memory=Dying()))
        for step in (dying.apply, dying.verify):
            try:
                await asyncio.wait_for(step(plan), 0.5)
            except (Killed, TimeoutError):
                break
        await drive.apply(plan)
        assert len(await jobs(namespace)) == 1
        await end(namespace)
        assert (await drive.verify(plan)).result == "pass"


async def test_the_remediation_of_the_page_runs(namespace: Namespace, tmp_path: Path) -> None:
    remediation, template = (
        yaml.safe_load(block.split("```")[0])
        for block in PAGE.read_text("utf-8").split("```yaml\n")[1:3]
    )
    [action] = remediation["spec"]["remediations"][0]["actionsOnOpen"]
    (tmp_path / f"{action['value']['template']}.yaml").write_text(yaml.safe_dump(template))
    made = settings(namespace, tmp_path, run_job_images="ghcr.io/acme/*")
    event = triggered(action["action"], action["value"])
    running = asyncio.create_task(run_action(RunJob, settings=made, event=event))
    outcome = await ended(namespace, running, "Succeeded")
    assert outcome.result == "pass", outcome
