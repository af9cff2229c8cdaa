"""What `remedy doctor` says of sources, Alertmanagers, Prometheus and remedies."""

from __future__ import annotations

import json
from pathlib import Path

from aiohttp import web

from keptn_remedy.support.clock import Clock
from tests.ordering import say
from tests.standalone.rig import REMEDIATION, SOURCES, World, stand_ins, write_files


async def told(folder: Path, **variables: str) -> dict[str, tuple[bool | None, str]]:
    """What is said of each thing looked at, and whether it is good; the last one counts."""
    said = await say(folder, "doctor", "--standalone", "--json", **variables)
    found = [json.loads(line) for line in said.out.splitlines()]
    assert all(each["to_do"] for each in found if each["is_good"] is False)
    return {each["about"]: (each["is_good"], each["message"]) for each in found}


async def test_what_standalone_mode_needs_is_looked_at(tmp_path: Path) -> None:
    async with stand_ins(World(Clock())) as url:
        write_files(tmp_path, url, SOURCES, REMEDIATION)
        found = await told(tmp_path)
    assert found["sources"] == (True, "sources.yaml: shop")
    assert found["source shop"] == (True, "alertmanager posts to /intake/shop with its secret")
    assert found["alertmanager"][0] is True
    assert found["prometheus"] == (True, f"{url}/prom answers, with 1 alerting rule")
    assert found["remedies"] == (True, "every alerting rule has a remedy in some file")
    assert found["keptn"] == (None, "REMEDY_TRANSPORT=standalone: there is none")
    assert "evidence" not in found


async def test_what_keeps_a_problem_from_being_judged_is_named(tmp_path: Path) -> None:
    world = World(Clock(), rule="absent(errors)", alertmanager_is_away=True)
    async with stand_ins(world) as url:
        write_files(tmp_path, url, SOURCES, REMEDIATION)
        (tmp_path / "secret").write_text("short")
        found = await told(tmp_path)
        other = REMEDIATION.replace("problemType: TooManyErrors", "problemType: Slow")
        write_files(tmp_path, url, SOURCES, other)
        unmapped = await told(tmp_path)
    assert found["source shop"] == (False, f"{tmp_path}/secret must hold 16 to 4096 characters")
    assert found["alertmanager"][0] is False
    assert found["evidence"] == (
        False,
        "TooManyErrors, action 2: the rule TooManyErrors compares no number",
    )
    assert unmapped["remedies"] == (None, "no remedy answers TooManyErrors")


async def test_a_receiver_that_an_alertmanager_does_not_have_is_told(tmp_path: Path) -> None:
    async with stand_ins(World(Clock(), receivers=["default", "remedies"])) as url:
        write_files(tmp_path, url, SOURCES, REMEDIATION)
        found = await told(tmp_path)
    why = "it has no receiver 'remedy', but default, remedies; did you mean remedies?"
    assert found["alertmanager"] == (False, f"{url}/am: {why}")


async def test_a_redirect_a_log_in_page_and_missing_files_are_told(tmp_path: Path) -> None:
    world = World(Clock(), alertmanager_is_away=True)
    world.prometheus_answer = lambda: web.Response(text="<html>", content_type="text/html")
    async with stand_ins(world) as url:
        write_files(tmp_path, url, SOURCES, REMEDIATION)
        world.alertmanager_answer = lambda: web.Response(
            status=302, headers={"Location": "/elsewhere"}
        )
        found = await told(tmp_path)
        assert "no answer of its API" in found["prometheus"][1]
        assert found["prometheus"][0] is False
        assert "it redirects (302)" in found["alertmanager"][1]
        world.alertmanager_answer = lambda: web.json_response(["another service"])
        assert "is no Alertmanager" in (await told(tmp_path))["alertmanager"][1]
        bare = SOURCES.replace('prometheus: {{url: "{url}/prom"}}\n', "")
        write_files(tmp_path, url, bare, REMEDIATION)
        found = await told(tmp_path, REMEDY_REMEDIATIONS="nowhere")
        assert found["prometheus"] == (False, "sources.yaml names none")
        assert found["remediations"] == (False, "nowhere has no remediation.yaml")
        (tmp_path / "sources.yaml").write_text("version: 2")
        assert (await told(tmp_path))["sources"][0] is False
    assert (await told(tmp_path, REMEDY_SOURCES="none"))["sources"][0] is False
