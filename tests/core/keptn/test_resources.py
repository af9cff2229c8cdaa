"""An action finds a file among those of its service, stage and project, as of the trigger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import (
    Action,
    Context,
    Outcome,
    PermanentError,
    ResourceNotFound,
    Retry,
    TemporaryError,
)
from keptn_remedy.action import Level
from keptn_remedy.events import ActionTriggered, stored_trigger
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.absent import NoControlPlane
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.keptn.resources import read
from keptn_remedy.testing import FakeKeptn, run_action, triggered
from tests.providing import event_url, provider
from tests.waiting import until

FILE = "jobs/config.yaml"
PROJECT, STAGE, SERVICE = (
    ("sockshop",),
    ("sockshop", "production"),
    ("sockshop", "production", "carts"),
)


class ReadFile(Action):
    """Tells what a file says."""

    name = "read-file"
    Value = dict[str, Any]
    retry = Retry(first=0.02, longest=0.02)

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        try:
            found = await context.keptn.resource(value["uri"], level=value.get("level"))
        except ResourceNotFound as error:
            return Outcome.warned(str(error))
        return Outcome.passed(found.decode())


def trigger(commit: str = "") -> ActionTriggered:
    return stored_trigger(orjson.dumps({**triggered("read-file"), "gitcommitid": commit}))


async def asked(keptn: FakeKeptn, commit: str = "", level: Level | None = None) -> bytes:
    control_plane = HttpControlPlane(ApiClient(keptn.url), "keptn-remedy")
    try:
        return await read(trigger(commit), FILE, level, control_plane.resource)
    finally:
        await control_plane.close()


async def test_the_service_is_asked_before_the_stage_and_the_stage_before_the_project() -> None:
    async with FakeKeptn() as keptn:
        for place in (PROJECT, STAGE, SERVICE):
            keptn.put_resource(FILE, place[-1].encode(), *place)
            assert await asked(keptn) == place[-1].encode()
        assert await asked(keptn, level="project") == b"sockshop"
        assert await asked(keptn, level="stage") == b"production"


@pytest.mark.parametrize("release", ["0.14", "1.4"])
async def test_the_file_is_as_of_the_commit_even_if_a_nearer_level_has_one_by_now(
    release: Any,
) -> None:
    async with FakeKeptn(release) as keptn:
        commit = keptn.put_resource(FILE, b"then", *PROJECT)
        keptn.put_resource(FILE, b"now", *SERVICE)
        assert await asked(keptn, commit) == b"then"
        assert await asked(keptn) == b"now"


@pytest.mark.parametrize("release", ["0.14", "0.19", "1.4"])
async def test_what_the_commit_lacks_is_read_from_the_newest(release: Any) -> None:
    async with FakeKeptn(release) as keptn:
        before = keptn.put_resource("other.yaml", b"", *SERVICE)
        keptn.put_resource(FILE, b"now", *STAGE)
        assert await asked(keptn, before) == b"now"
        assert await asked(keptn, "unknown") == b"now"


async def test_a_file_that_is_nowhere_is_told_from_a_keptn_that_fails() -> None:
    async with FakeKeptn() as keptn:
        with pytest.raises(
            ResourceNotFound, match=r"no jobs/config\.yaml for sockshop/production/c"
        ):
            await asked(keptn, "unknown")
        keptn.fail_at("resource", 503)
        with pytest.raises(TemporaryError, match="503"):
            await asked(keptn)


@pytest.mark.parametrize("uri", ["", "/", "..", "a/../../b", "a//b", "./a"])
async def test_a_name_that_leads_out_of_its_level_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="is no name of a resource"):
        await read(trigger(), uri, None, NoControlPlane(tmp_path).resource)


async def test_a_slash_in_front_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("found", "utf-8")
    assert await read(trigger(), "/a", None, NoControlPlane(tmp_path).resource) == b"found"


async def test_without_keptn_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    nobody = NoControlPlane(tmp_path)
    with pytest.raises(ResourceNotFound):
        await read(trigger(), FILE, None, nobody.resource)
    (tmp_path / FILE).write_bytes(b"found")
    assert await read(trigger("c0ffee"), FILE, None, nobody.resource) == b"found"
    with pytest.raises(PermanentError, match="can't be read"):
        await read(trigger(), "jobs", None, nobody.resource)
    with pytest.raises(PermanentError, match="REMEDY_RESOURCES_DIR"):
        await read(trigger(), FILE, None, NoControlPlane().resource)


async def test_a_running_provider_reads_for_its_actions(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, ReadFile) as service:
        commit = keptn.put_resource(FILE, b"then", *STAGE)
        keptn.put_resource(FILE, b"now", *STAGE)
        event = {**triggered("read-file", {"uri": FILE}), "gitcommitid": commit}
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        (finished,) = keptn.finished(event["id"])
        assert finished.data["message"] == "then"


async def test_a_read_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, ReadFile) as service:
        keptn.put_resource(FILE, b"now", *STAGE)
        keptn.fail_at("resource")
        event = triggered("read-file", {"uri": FILE})
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: any("/resource/" in asked for asked in keptn.asked))
        keptn.recover("resource")
        assert (await keptn.task_finished(event["id"])).result == "pass"


async def test_a_test_gives_an_action_its_files() -> None:
    outcome = await run_action(ReadFile, {"uri": FILE}, resources={FILE: "found"})
    assert outcome.message == "found"
    outcome = await run_action(ReadFile, {"uri": FILE})
    assert outcome.result == "warning"
