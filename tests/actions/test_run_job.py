"""run-job without a cluster: what it asks the API server for, and what it never does twice."""

from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from keptn_remedy import Denied, PermanentError, Plan, ResourceNotFound
from keptn_remedy.testing import http_peer
from keptn_remedy_actions.cluster.rights import RIGHTS
from keptn_remedy_actions.jobs import Task, completed
from keptn_remedy_actions.jobs.config import URI, tasks_in
from keptn_remedy_actions.jobs.value import RunJobSettings
from keptn_remedy_actions.run_job import RunJob
from tests.actions.driving import Driven, driven
from tests.actions.objects import _kubeconfig
from tests.actions.test_cluster_api import kubeconfig
from tests.actions.test_diagnose import diagnosed

EVENT = {"name": "sh.keptn.event.action.triggered"}


def config(*tasks: dict[str, Any]) -> str:
    return yaml.safe_dump(
        {"apiVersion": "v2", "actions": [{"name": "a", "events": [EVENT], "tasks": tasks}]}
    )


@dataclass
class Cluster:
    """Jobs that end as soon as they are created."""

    jobs: dict[str, Any] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    maps: list[Any] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/pods"):
            return web.json_response({"metadata": {}, "items": []})
        if request.method == "POST":
            job = orjson.loads(await request.read())
            job["metadata"]["uid"] = "1"
            if "dryRun" not in request.query and request.path.endswith("/jobs"):
                done = {"conditions": [{"type": "Complete", "status": "True"}]}
                self.created.append(job["metadata"]["name"])
                self.jobs[job["metadata"]["name"]] = job | {"status": done}
            elif request.path.endswith("/configmaps"):
                self.maps.append(job)
            return web.json_response(job, status=201)
        found = self.jobs.get(request.path.rpartition("/")[2])
        return web.json_response(found or {"message": "gone"}, status=200 if found else 404)


@asynccontextmanager
async def acting(
    folder: Path,
    cluster: Cluster,
    config_yaml: str = "",
    *,
    files: Mapping[str, bytes] | None = None,
    **others: Any,
) -> AsyncIterator[Driven]:
    runner = web.ServerRunner(web.Server(cluster.answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = "http://{}:{}".format(*runner.addresses[0])
    given: Any = {"kubeconfig": _kubeconfig(folder, server), "run_job_images": "*", **others}
    action = RunJob(RunJobSettings(namespace_template="shop", **given))

    async def read(_: object, uri: str, __: object) -> bytes:
        if uri == URI:
            return config_yaml.encode()
        if uri not in (files or {}):
            raise ResourceNotFound(f"there is no {uri}")
        return (files or {})[uri]

    async def read_folder(_: object, uri: str) -> Mapping[str, bytes]:
        found = {name: each for name, each in (files or {}).items() if name.startswith(f"{uri}/")}
        if not found:
            raise ResourceNotFound(f"there is nothing in a folder {uri}")
        return found

    try:
        async with driven(action) as drive:
            yield replace(drive, context=replace(drive.context, read=read, read_folder=read_folder))
    finally:
        await action.close()
        await runner.cleanup()


async def test_a_job_that_was_followed_by_another_is_not_run_again(tmp_path: Path) -> None:
    cluster = Cluster()
    written = config({"name": "first", "image": "a"}, {"name": "second", "image": "b"})
    async with acting(tmp_path, cluster, written) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        first, second = cluster.created
        del cluster.jobs[first]  # its time to live is over; then the process is restarted
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert cluster.created == [first, second]
    assert outcome.message == f"job {first} succeeded; job {second} succeeded"


async def test_an_approval_holds_for_this_job_and_these_files_alone(tmp_path: Path) -> None:
    files = {"run.sh": b"one"}
    long = ["x" * 400]
    task = {"name": "one", "image": "a", "args": [*long, "1"], "files": ["run.sh"]}
    plans = list[Plan]()
    async with acting(tmp_path, Cluster(), config(task), files=files) as drive:
        plans += [await drive.plan({}), await drive.plan({})]
    async with acting(tmp_path, Cluster(), config(task), files=files) as drive:  # another execution
        assert drive.action.is_same(plans[0], await drive.plan({}))
        files["run.sh"] = b"two"
        plans.append(await drive.plan({}))
    async with acting(
        tmp_path, Cluster(), config({**task, "args": [*long, "2"]}), files=files
    ) as drive:
        plans.append(await drive.plan({}))
        assert [plan.changes[0].after for plan in plans[:2]] == [plans[0].changes[0].after] * 2
        assert drive.action.is_same(plans[0], plans[1])
        assert not drive.action.is_same(plans[1], plans[2])
        assert not drive.action.is_same(plans[2], plans[3])


async def test_a_file_that_was_changed_since_the_plan_is_given_to_no_job(tmp_path: Path) -> None:
    cluster, files = Cluster(), {"run.sh": b"one"}
    task = {"name": "one", "image": "a", "files": ["run.sh"]}
    async with acting(tmp_path, cluster, config(task), files=files) as drive:
        plan = await drive.plan({})
        files["run.sh"] = b"two"
        with pytest.raises(Denied, match=r"run\.sh was changed since the plan"):
            await drive.apply(plan)
        assert cluster.created == []
        files["run.sh"] = b"one"
        await drive.apply(plan)
        assert len(cluster.created) == 1
        files["run.sh"] = b"two"  # it has run, and nothing is read any more
        assert (await drive.verify(plan)).result == "pass"


FOLDER = {"charts/a.yaml": b"one", "charts/b/c.yaml": b"two", "charts-old/a.yaml": b"old"}


@pytest.mark.parametrize("uri", ["charts", "/charts", "/charts/"])
async def test_a_folder_stands_for_all_that_is_below_it(uri: str, tmp_path: Path) -> None:
    cluster = Cluster()
    task = {"name": "one", "image": "a", "files": [uri, "charts/a.yaml"]}
    async with acting(tmp_path, cluster, config(task), files=FOLDER) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
    [job], [given] = cluster.jobs.values(), cluster.maps
    [volume] = job["spec"]["template"]["spec"]["volumes"]
    items = {each["path"]: each["key"] for each in volume["configMap"]["items"]}
    assert set(items) == {"charts/a.yaml", "charts/b/c.yaml"}
    written = {path: b64decode(given["binaryData"][key]) for path, key in items.items()}
    assert written == {path: FOLDER[path] for path in items}


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ({"charts/a.yaml": b"changed"}, r"charts/a\.yaml was changed since the plan"),
        ({"charts/d.yaml": b""}, r"charts/d\.yaml was added since the plan"),
        ({"charts/b/c.yaml": None}, r"charts/b/c\.yaml was removed since the plan"),
    ],
)
async def test_a_folder_that_was_changed_since_the_plan_is_given_to_no_job(
    then: dict[str, bytes | None], told: str, tmp_path: Path
) -> None:
    cluster, files = Cluster(), dict(FOLDER)
    task = {"name": "one", "image": "a", "files": ["charts"]}
    async with acting(tmp_path, cluster, config(task), files=files) as drive:
        plan = await drive.plan({})
        for name, content in then.items():
            files.pop(name, None)
            if content is not None:
                files[name] = content
        with pytest.raises(Denied, match=told):
            await drive.apply(plan)
    assert cluster.created == []


@pytest.mark.parametrize(
    ("files", "wanted", "told"),
    [
        ({}, ["charts"], "there is no charts, and there is nothing in a folder charts"),
        ({}, ["../charts"], "'../charts' is no file or folder"),
        ({}, ["/"], "'/' is no file or folder"),
        ({"a/b": b"x" * 600_000, "a/c": b"x" * 600_000}, ["a"], "the files take 1,200,000 bytes"),
        ({"a": b"", "a/b": b""}, ["a", "a/b"], "a can't be a file and the folder of a/b"),
    ],
)
async def test_files_that_a_job_cannot_be_given_are_told_at_planning(
    files: dict[str, bytes], wanted: list[str], told: str, tmp_path: Path
) -> None:
    task = {"name": "one", "image": "a", "files": wanted}
    async with acting(tmp_path, Cluster(), config(task), files=files) as drive:
        with pytest.raises(PermanentError, match=told):
            await drive.plan({})


async def test_a_template_may_have_fields_without_a_value(tmp_path: Path) -> None:
    (tmp_path / "dump.yaml").write_text(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {labels: , annotations: }\n"
        "spec: {activeDeadlineSeconds: , ttlSecondsAfterFinished: , template: {spec:"
        " {containers: [{image: a, resources: , env: }]}}}\n"
    )
    async with acting(tmp_path, Cluster(), run_job_templates=tmp_path) as drive:
        [job] = (await drive.plan({"template": "dump"})).memo["jobs"]
    spec = job["manifest"]["spec"]
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (300, 600)
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "512Mi"


async def test_a_template_with_a_time_that_is_no_number_is_told(tmp_path: Path) -> None:
    (tmp_path / "dump.yaml").write_text(
        "apiVersion: batch/v1\nkind: Job\n"
        "spec: {activeDeadlineSeconds: 5m, template: {spec: {containers: [{image: a}]}}}\n"
    )
    async with acting(tmp_path, Cluster(), run_job_templates=tmp_path) as drive:
        with pytest.raises(PermanentError, match="activeDeadlineSeconds of the job is '5m'"):
            await drive.plan({"template": "dump"})


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        ({}, {"cpu": "1", "memory": "512Mi"}),
        ({"limits": {"memory": "1Gi"}}, {"cpu": "1", "memory": "1Gi"}),
        ({"requests": {"cpu": "10m"}}, {"cpu": "1", "memory": "512Mi"}),
    ],
)
async def test_a_task_of_the_job_executor_always_has_limits(
    tmp_path: Path, resources: dict[str, Any], limits: dict[str, str]
) -> None:
    written = config({"name": "one", "image": "a", "resources": resources})
    async with acting(tmp_path, Cluster()) as drive:
        [task] = tasks_in(written.encode(), drive.context)
        made = completed(task, drive.context, 0, seconds=300, keep_seconds=600)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == limits


@pytest.mark.parametrize(("written", "kept"), [({}, 600), (0, 60), (30, 60), (900, 900)])
async def test_a_job_is_kept_until_its_end_was_seen(
    tmp_path: Path, written: Any, kept: int
) -> None:
    spec: dict[str, Any] = {"template": {"spec": {"containers": [{"image": "a"}]}}}
    if written != {}:
        spec["ttlSecondsAfterFinished"] = written
    task = Task(name="one", namespace="shop", manifest={"spec": spec})
    async with acting(tmp_path, Cluster()) as drive:
        made = completed(task, drive.context, 0, seconds=300, keep_seconds=600)
    assert made["spec"]["ttlSecondsAfterFinished"] == kept


@pytest.mark.parametrize("own", ["", "jobs"])
async def test_doctor_looks_at_the_rights_on_jobs(tmp_path: Path, own: str) -> None:
    async with http_peer() as peer:
        peer.answer(201, json={"status": {"allowed": False}})
        peer.answer(201, json={"status": {"allowed": True}}, times=None)
        given: Any = {"run_job_images": "*", "run_job_namespace": own}
        made = RunJobSettings(kubeconfig=kubeconfig(tmp_path, peer.url), **given)
        found = await diagnosed(RunJob(made), "shop")
        asked = [orjson.loads(r.body)["spec"]["resourceAttributes"] for r in peer.requests]
    assert found == [(False, f"run-job lacks in {own or 'shop'}: create jobs")]
    assert len(asked) == len(RIGHTS["run-job"])
    log = {"group": "", "resource": "pods", "subresource": "log", "verb": "get"}
    assert {"namespace": own or "shop", **log} in asked
