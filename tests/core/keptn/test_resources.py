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
from keptn_remedy.keptn.resources import MOST_FILES, files_of, read
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


class ReadFolder(Action):
    """Tells what is in a folder."""

    name = "read-folder"
    Value = dict[str, Any]
    retry = Retry(first=0.02, longest=0.02)

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        found = await context.keptn.folder(value["uri"])
        return Outcome.passed(", ".join(f"{name}: {text.decode()}" for name, text in found.items()))


async def folder_of(keptn: FakeKeptn, commit: str = "", uri: str = "charts") -> dict[str, str]:
    control_plane = HttpControlPlane(ApiClient(keptn.url), "keptn-remedy")
    try:
        found = await files_of(control_plane).folder(trigger(commit), uri)
    finally:
        await control_plane.close()
    return {name: content.decode() for name, content in found.items()}


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


@pytest.mark.parametrize("uri", ["charts", "/charts", "charts/"])
@pytest.mark.parametrize("release", ["0.14", "1.4"])
async def test_a_folder_holds_what_the_service_has_below_it(release: Any, uri: str) -> None:
    async with FakeKeptn(release) as keptn:
        for name in ("charts/a", "charts/b/c", "charts-old/a", "my/charts/a", "charts"):
            keptn.put_resource(name, b"service", *SERVICE)
        keptn.put_resource("charts/removed", b"", *SERVICE)
        keptn.put_resource("charts/removed", None, *SERVICE)
        keptn.put_resource("charts/of-the-stage", b"", *STAGE)
        found = await folder_of(keptn, uri=uri)
        assert found == {"charts/a": "service", "charts/b/c": "service"}


async def test_a_folder_is_found_on_every_page_of_the_list() -> None:
    async with FakeKeptn() as keptn:
        for number in range(120):
            keptn.put_resource(f"a/{number}", b"", *SERVICE)
        keptn.put_resource("charts/last", b"found", *SERVICE)
        assert await folder_of(keptn) == {"charts/last": "found"}
        pages = [asked for asked in keptn.asked if "/resource?" in asked]
    assert len(pages) == 3


async def test_a_folder_is_as_of_the_commit_and_never_of_two() -> None:
    async with FakeKeptn() as keptn:
        keptn.put_resource("charts/a", b"then", *SERVICE)
        commit = keptn.put_resource("charts/b", b"then", *SERVICE)
        keptn.put_resource("charts/a", b"now", *SERVICE)
        keptn.put_resource("charts/later", b"now", *SERVICE)
        now = {"charts/a": "now", "charts/b": "then", "charts/later": "now"}
        assert await folder_of(keptn, commit) == {"charts/a": "then", "charts/b": "then"}
        assert await folder_of(keptn) == now
        assert await folder_of(keptn, "unknown") == now
        keptn.put_resource("jobs/a", b"new", *SERVICE)
        assert await folder_of(keptn, commit, "jobs") == {"jobs/a": "new"}


async def test_a_folder_that_is_nowhere_is_told_from_a_keptn_that_fails() -> None:
    async with FakeKeptn() as keptn:
        with pytest.raises(ResourceNotFound, match="in a folder charts for sockshop/production/c"):
            await folder_of(keptn)
        keptn.put_resource("other", b"", *SERVICE)
        with pytest.raises(ResourceNotFound):
            await folder_of(keptn, "unknown")
        keptn.put_resource("charts/a", b"", *SERVICE)
        keptn.fail_at("resource", 503)
        with pytest.raises(TemporaryError, match="503"):
            await folder_of(keptn)


async def test_a_folder_with_too_much_in_it_is_refused() -> None:
    async with FakeKeptn() as keptn:
        for name in ("charts/a", "charts/b"):
            keptn.put_resource(name, b"x" * 600_000, *SERVICE)
        with pytest.raises(PermanentError, match=r"folder of charts/b has more than 1048576 bytes"):
            await folder_of(keptn)
        for number in range(MOST_FILES):
            keptn.put_resource(f"charts/{number}", b"", *SERVICE)
        with pytest.raises(PermanentError, match=f"{MOST_FILES + 2} files; {MOST_FILES} are"):
            await folder_of(keptn)


async def test_without_keptn_a_folder_is_read_from_the_folder(tmp_path: Path) -> None:
    files = files_of(NoControlPlane(tmp_path))
    with pytest.raises(ResourceNotFound):
        await files.folder(trigger(), "charts")
    (tmp_path / "charts/b").mkdir(parents=True)
    (tmp_path / "charts/b/c").write_bytes(b"found")
    assert await files.folder(trigger("c0ffee"), "charts") == {"charts/b/c": b"found"}
    with pytest.raises(PermanentError, match="REMEDY_RESOURCES_DIR"):
        await files_of(NoControlPlane()).folder(trigger(), "charts")


async def test_a_running_provider_reads_a_folder_for_its_actions(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, ReadFolder) as service:
        commit = keptn.put_resource("charts/a", b"then", *SERVICE)
        keptn.put_resource("charts/a", b"now", *SERVICE)
        keptn.fail_at("resource")
        event = {**triggered("read-folder", {"uri": "charts"}), "gitcommitid": commit}
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: any("/resource?" in asked for asked in keptn.asked))
        keptn.recover("resource")
        await keptn.task_finished(event["id"])
        (finished,) = keptn.finished(event["id"])
        assert finished.data["message"] == "charts/a: then"


async def test_a_test_gives_an_action_its_folders() -> None:
    files = {"charts/a": "one", "other": "two"}
    outcome = await run_action(ReadFolder, {"uri": "charts"}, resources=files)
    assert outcome.message == "charts/a: one"
    outcome = await run_action(ReadFolder, {"uri": "jobs"}, resources=files)
    assert outcome.status == "errored"


async def test_a_test_gives_an_action_its_files() -> None:
    outcome = await run_action(ReadFile, {"uri": FILE}, resources={FILE: "found"})
    assert outcome.message == "found"
    outcome = await run_action(ReadFile, {"uri": FILE})
    assert outcome.result == "warning"
