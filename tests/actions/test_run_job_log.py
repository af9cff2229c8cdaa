"""The end of a job's log becomes part of the message, in one harmless line."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy_actions.cluster import Ref
from keptn_remedy_actions.jobs import JOB
from keptn_remedy_actions.jobs.value import RunJobSettings
from keptn_remedy_actions.run_job import RunJob
from tests.actions.driving import driven
from tests.actions.objects import _kubeconfig


@pytest.mark.parametrize(
    ("status", "log", "shown"),
    [
        (200, b"one\ntwo \x1b[31mred\n\xff", "one two [31mred \N{REPLACEMENT CHARACTER}"),
        (200, b"x" * 5000, "\N{HORIZONTAL ELLIPSIS}" + "x" * 1000),
        (403, b'{"message": "pods/log is forbidden"}', ""),
        (500, b"no kubelet", ""),
    ],
)
async def test_the_end_of_the_log(tmp_path: Path, status: int, log: bytes, shown: str) -> None:
    asked: list[Any] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append((request.path, dict(request.query)))
        if request.path.endswith("/log"):
            return web.Response(status=status, body=log)
        return web.json_response({"metadata": {}, "items": [{"metadata": {"name": "pod-1"}}]})

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = "http://{}:{}".format(*runner.addresses[0])
    given: Any = {"kubeconfig": _kubeconfig(tmp_path, server), "run_job_images": "*"}
    action = RunJob(RunJobSettings(**given))
    async with driven(action) as drive:
        found = await action._log(drive.context, Ref(JOB, "shop", "job-1"))
    await action.close()
    await runner.cleanup()
    assert found == shown
    assert asked[-1] == (
        "/api/v1/namespaces/shop/pods/pod-1/log",
        {"tailLines": "20", "limitBytes": "16384"},
    )
