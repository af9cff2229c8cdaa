"""What toggle-feature promises holds in every store of flags: one table, the same tests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from keptn_remedy import Denied, Outcome, PermanentError, Plan, TemporaryError
from keptn_remedy.registry import of
from keptn_remedy_actions.flag_backends.compared import ComparedFlags
from keptn_remedy_actions.flag_backends.http_api import HttpApi
from keptn_remedy_actions.toggle_feature import ToggleFeature
from tests.actions.driving import Driven, driven
from tests.actions.flag_servers import (
    SECRET,
    SERVERS,
    ConfigCatServer,
    Fault,
    FlagsmithServer,
    GitLabServer,
    LaunchDarklyServer,
    OpenFeatureServer,
    StandIn,
    UnleashServer,
)

PAGE = Path(__file__).parents[2] / "docs/actions/toggle-feature.md"
KILLS = 10  # at each of so many requests, before the server handles it and after
NEW = tuple(each for each in SERVERS if each is not UnleashServer)
HOSTED = tuple(each for each in NEW if each is not OpenFeatureServer)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look is enough."""
    monkeypatch.setattr(ComparedFlags, "SETTLE_SECONDS", 0.0)


@asynccontextmanager
async def acting(server: StandIn, folder: Path) -> AsyncIterator[Driven]:
    """As a process that was just started."""
    action = ToggleFeature(server.settings(folder))
    async with driven(action) as drive:
        try:
            yield drive
        finally:
            await action.close()


@pytest.fixture(params=SERVERS, ids=lambda server: server.store)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[StandIn]:
    async with request.param().served() as served:
        yield served


async def test_a_dry_run_shows_the_change_and_changes_nothing(
    server: StandIn, tmp_path: Path
) -> None:
    before = server.snapshot()
    async with acting(server, tmp_path) as drive:
        outcome = await drive.run({"hero": "off", "dark": "off"}, dry_run=True)
    assert "dry run" in outcome.message
    assert re.search(
        r"hero enabled: (true|decided by targeting( rules)?) -> false", outcome.message
    )
    assert "dark was off already" in outcome.message
    assert (server.snapshot(), server.writes) == (before, 0)
    assert {method for method, _ in server.requests} == {"GET"}


@pytest.mark.parametrize(("name", "wish"), [("hero", "off"), ("dark", "on")])
async def test_a_flag_is_switched_once_read_back_and_restored_exactly(
    server: StandIn, tmp_path: Path, name: str, wish: str
) -> None:
    before = server.snapshot()
    async with acting(server, tmp_path) as drive:
        plan = await drive.plan({name: wish})
        for _ in range(3):  # as after crashes
            await drive.apply(plan)
        assert server.writes == 1
        outcome = await drive.verify(plan)
        assert outcome.result in ("pass", "warning"), outcome.message
        assert outcome.message.startswith(f"{name} {wish} in ")
        again = await drive.plan({name: wish})
        assert (again.changes, again.notes) == ((), (f"{name} was {wish} already",))
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "it is as it was before"
    assert server.snapshot() == before
    assert server.writes == 2


async def test_the_runner_reports_what_it_did(server: StandIn, tmp_path: Path) -> None:
    async with acting(server, tmp_path) as drive:
        outcome = await drive.run({"hero": "off", "promo": "off"})
    assert (outcome.status, outcome.result) == ("succeeded", "pass")
    assert outcome.message.startswith("hero off, promo off in ")
    assert server.writes == 2


async def test_one_flag_that_is_unknown_stops_all(server: StandIn, tmp_path: Path) -> None:
    async with acting(server, tmp_path) as drive:
        outcome = await drive.run({"promo": "off", "heroo": "off"})
    assert outcome.status == "errored"
    assert "heroo" in outcome.message
    assert server.writes == 0
    if not isinstance(server, ConfigCatServer):  # its SDK key can't list flags
        assert "did you mean hero" in outcome.message


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_request_it_has_one_effect(
    server: StandIn, tmp_path: Path, after: bool
) -> None:
    before = server.snapshot()
    for kill in range(KILLS):
        server.writes = 0
        server.cut(kill, after=after)
        plan, outcome = await _until_done(server, tmp_path)
        if server.faults:  # it ended before
            break
        assert outcome.result == "pass", (kill, outcome.message)
        assert server.writes == 1, kill
        async with acting(server, tmp_path) as drive:
            assert await drive.undo(plan) == "undone"
        assert server.snapshot() == before, kill


async def _until_done(server: StandIn, folder: Path) -> tuple[Plan, Outcome]:
    """Each step by a process of its own; a step that fails is repeated by the next one."""
    plan: Plan | None = None
    is_applied = False
    for _ in range(KILLS):
        async with acting(server, folder) as drive:
            try:
                plan = plan or await drive.plan({"hero": "off"})
                if not is_applied:
                    await drive.apply(plan)
                    is_applied = True
                return plan, await drive.verify(plan)
            except TemporaryError:
                continue
    raise AssertionError("it never ended")


async def test_an_undo_that_is_cut_off_ends_at_the_next_try(
    server: StandIn, tmp_path: Path
) -> None:
    before = server.snapshot()
    for kill in range(KILLS // 2):
        async with acting(server, tmp_path) as drive:
            plan = await drive.plan({"hero": "off"})
            await drive.apply(plan)
            server.writes = 0
            server.cut(kill, after=True)
            try:
                await drive.undo(plan)
            except TemporaryError:
                await drive.undo(plan)
        assert (server.snapshot(), server.writes) == (before, 1), kill
        if server.faults:
            break


# --- changed by somebody else --------------------------------------------------------------------


@pytest.fixture(params=[s for s in SERVERS if s not in (UnleashServer, FlagsmithServer)])
async def meddled(request: pytest.FixtureRequest) -> AsyncIterator[StandIn]:
    """A store whose flags have more than two states."""
    async with request.param().served() as served:
        yield served


async def test_what_changed_since_the_plan_is_not_overwritten(
    meddled: StandIn, tmp_path: Path
) -> None:
    async with acting(meddled, tmp_path) as drive:
        plan = await drive.plan({"hero": "off"})
        meddled.meddle("hero")
        there = meddled.snapshot()
        with pytest.raises(PermanentError, match=r"changed by somebody else .* nothing was overw"):
            await drive.apply(plan)
    assert (meddled.snapshot(), meddled.writes) == (there, 0)


async def test_what_changed_since_the_switch_is_told_and_not_undone(
    meddled: StandIn, tmp_path: Path
) -> None:
    async with acting(meddled, tmp_path) as drive:
        plan = await drive.plan({"hero": "off"})
        await drive.apply(plan)
        meddled.meddle("hero")
        there = meddled.snapshot()
        outcome = await drive.verify(plan)
        assert outcome.result == "fail"
        assert "hero is no longer off: it was changed to" in outcome.message
        with pytest.raises(Denied, match=r"hero in .* was changed since, so it is left alone"):
            await drive.undo(plan)
    assert meddled.snapshot() == there


async def test_a_flag_that_is_gone_is_told_and_the_other_one_restored(
    server: StandIn, tmp_path: Path
) -> None:
    before = server.snapshot()
    async with acting(server, tmp_path) as drive:
        plan = await drive.plan({"hero": "off", "promo": "off"})
        await drive.apply(plan)
        del server.flags["hero"]
        assert "undone, but: hero is gone" in await drive.undo(plan)
    assert server.snapshot() == {name: flag for name, flag in before.items() if name != "hero"}


# --- percentages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", ["0%", "10 %"])
async def test_a_percentage_is_set_and_undone(
    server: StandIn, tmp_path: Path, percent: str
) -> None:
    if not server.has_percentages:
        async with acting(server, tmp_path) as drive:
            assert "can only be on or off" in await drive.refusal({"hero": percent})
        return
    before, said = server.snapshot(), percent.replace(" ", "")
    async with acting(server, tmp_path) as drive:
        plan = await drive.plan({"hero": percent})
        assert f" -> {said}" in str(plan)
        assert server.writes == 0
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert (outcome.result, outcome.details["seen"]) == ("pass", {"hero": said})
        assert not (await drive.plan({"hero": percent})).changes
        assert f"enabled: {said} -> 7%" in str(await drive.plan({"hero": "7%"}))
        assert await drive.undo(plan) == "undone"
    assert server.snapshot() == before


@pytest.mark.parametrize("wish", ["101%", "1000%", "blue", "10.5%", "-1%"])
async def test_what_no_store_has_is_refused(server: StandIn, tmp_path: Path, wish: str) -> None:
    async with acting(server, tmp_path) as drive:
        refusal = await drive.refusal({"hero": wish})
    assert wish in refusal
    assert server.writes == 0


# --- what servers answer -------------------------------------------------------------------------


@pytest.fixture(params=NEW, ids=lambda server: server.store)
async def new(request: pytest.FixtureRequest) -> AsyncIterator[StandIn]:
    async with request.param().served() as served:
        yield served


@pytest.fixture(params=HOSTED, ids=lambda server: server.store)
async def hosted(request: pytest.FixtureRequest) -> AsyncIterator[StandIn]:
    async with request.param().served() as served:
        yield served


async def planned_with(server: StandIn, folder: Path, fault: Fault) -> Exception:
    """The error of a plan whose first request is answered so."""
    server.faults.append(fault)
    async with acting(server, folder) as drive:
        with pytest.raises((PermanentError, TemporaryError)) as caught:
            await drive.plan({"hero": "off"})
    assert SECRET not in str(caught.value)
    return caught.value


ECHO = b'{"message": "no: very-secret"}'


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401), "does not know .*: correct it"),
        (Fault(403, body=ECHO), r"does not allow .* 403 no: \*\*\*"),
        (Fault(400, body=ECHO), r"refuses: 400 no: \*\*\*"),
        (Fault(405), "refuses: 405"),
        (Fault(422, body=b'{"detail": {"a": 1}}'), "refuses: 422"),
        (Fault(302, {"Location": "http://127.0.0.1:9/?very-secret"}), "redirects with 302, which"),
        (Fault(200, body=b"<html>log in</html>"), "does not answer as the API of"),
        (Fault(200, body=b"[]"), "does not answer as the API of"),
        (Fault(200, body=b"[" * 100_000), "does not answer as the API of"),
    ],
)
async def test_what_is_refused_for_good(
    hosted: StandIn, tmp_path: Path, fault: Fault, said: str
) -> None:
    error = await planned_with(hosted, tmp_path, fault)
    assert isinstance(error, PermanentError)
    assert re.search(said, str(error))
    assert len(hosted.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"variations": [1, 2], "environments": {"production": {"on": True, "fallthrough": "x"}}},
        {
            "variations": [],
            "environments": {"production": {"on": True, "fallthrough": {"rollout": 1}}},
        },
        {"active": True, "strategies": [7]},
        {"active": True, "strategies": [{"scopes": [{}]}]},
        {"results": [{"enabled": True}], "next": None},
        {"results": [3], "next": None},
        {"defaultValue": {"boolValue": True}, "targetingRules": [1]},
        {"defaultValue": {"boolValue": True}, "targetingRules": [{"percentageOptions": [{}]}]},
    ],
    ids=str,
)
async def test_json_of_another_shape_is_no_flag(
    hosted: StandIn, tmp_path: Path, answer: Any
) -> None:
    error = await planned_with(hosted, tmp_path, Fault(200, body=json.dumps(answer).encode()))
    assert isinstance(error, PermanentError)
    assert re.search("is not understood|does not answer as|has no|is no boolean", str(error))


async def test_a_delay_without_end_is_cut(hosted: StandIn, tmp_path: Path) -> None:
    error = await planned_with(hosted, tmp_path, Fault(429, {"Retry-After": "9" * 400}))
    assert isinstance(error, TemporaryError)
    assert error.delay == 3600


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_succeed_later_is_temporary_and_says_when(
    hosted: StandIn, tmp_path: Path, status: int
) -> None:
    fault = Fault(status, {"Retry-After": "7"}, body=b'{"message": "SELECT secret"}')
    error = await planned_with(hosted, tmp_path, fault)
    assert isinstance(error, TemporaryError)
    assert error.delay == 7
    assert status != 500 or "SELECT" not in str(error)


async def test_the_reset_of_launchdarklys_limit_is_a_delay(tmp_path: Path) -> None:
    async with LaunchDarklyServer().served() as server:
        headers = {"X-Ratelimit-Reset": "1700000003500", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
        error = await planned_with(server, tmp_path, Fault(429, headers))
    assert isinstance(error, TemporaryError)
    assert error.delay == pytest.approx(3.5)


async def test_an_answer_without_end_is_cut(
    hosted: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpApi, "LARGEST_ANSWER", 1024 * 1024)
    error = await planned_with(hosted, tmp_path, Fault(200, body=b" " * (1024 * 1024 + 1)))
    assert "answers with more than 1 MiB" in str(error)


async def test_a_conflict_is_read_again_and_repeated(new: StandIn, tmp_path: Path) -> None:
    async with acting(new, tmp_path) as drive:
        plan = await drive.plan({"hero": "off"})
        reads = [None] * (2 if isinstance(new, FlagsmithServer) else 1)  # it has two pages
        new.faults.extend([*reads, Fault(409, body=b'{"message": "conflict"}')])
        await drive.apply(plan)
        assert new.writes == 1
        new.faults.extend([*reads, Fault(409, body=b"{}")] * 5)
        with pytest.raises(TemporaryError, match="kept changing"):
            await drive.undo(plan)
        new.faults.clear()
        assert await drive.undo(plan) == "undone"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a%2e", "a b", "ä", "x" * 257])
async def test_a_name_that_is_none_is_never_sent(
    hosted: StandIn, tmp_path: Path, name: str
) -> None:
    async with acting(hosted, tmp_path) as drive:
        refusal = await drive.refusal({name: "off"})
    assert "can't be the name of a flag" in refusal or "there is no feature" in refusal
    assert not hosted.has_paths or not hosted.requests
    assert all(".." not in path.partition("?")[0] for _, path in hosted.requests)


async def test_no_server_at_all_is_temporary(tmp_path: Path) -> None:
    async with LaunchDarklyServer().served() as server:
        pass
    async with acting(server, tmp_path) as drive:
        said = r"^LaunchDarkly at .* can't be reached: Connection refused$"
        with pytest.raises(TemporaryError, match=said):
            await drive.plan({"hero": "off"})


# --- one store -----------------------------------------------------------------------------------


async def test_a_percentage_and_a_switch_go_side_by_side_in_unleash(tmp_path: Path) -> None:
    async with UnleashServer().served() as server, acting(server, tmp_path) as drive:
        before = server.snapshot()
        plan = await drive.plan({"hero": "10%", "promo": "off"})
        assert "hero enabled: 100% -> 10%" in str(plan)
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert outcome.result == "pass"
        assert outcome.details["seen"]["hero"] == "10%"
        server.flags["hero"]["strategies"][0]["parameters"]["rollout"] = "20"
        assert "undone, but: hero in" in await drive.undo(plan)
        assert server.flags["promo"] == before["promo"]
        assert server.flags["hero"]["strategies"][0]["parameters"]["rollout"] == "20"


async def test_a_percentage_without_one_rollout_to_set_is_refused_in_unleash(
    tmp_path: Path,
) -> None:
    async with UnleashServer().served() as server, acting(server, tmp_path) as drive:
        assert "dark is off in production" in await drive.refusal({"dark": "10%"})
        server.flags["hero"]["strategies"].append({"id": "2", "name": "userWithId"})
        assert "it has flexibleRollout, userWithId" in await drive.refusal({"hero": "10%"})
    assert server.writes == 0


async def test_launchdarkly_needs_an_approval(tmp_path: Path) -> None:
    launchdarkly = LaunchDarklyServer()
    launchdarkly.needs_approval = True
    async with launchdarkly.served() as server, acting(server, tmp_path) as drive:
        outcome = await drive.run({"hero": "off"})
    assert outcome.result == "fail"
    assert "requires an approval in LaunchDarkly: ask for one there" in outcome.message


async def test_launchdarkly_tells_what_else_decides(tmp_path: Path) -> None:
    async with LaunchDarklyServer().served() as server, acting(server, tmp_path) as drive:
        server.flags["hero"]["rules"] = [{"clauses": []}]
        plan = await drive.plan({"hero": "10%"})
    assert plan.notes == ("hero also has rules, which stay",)


async def test_a_scope_that_others_share_is_not_taken_from_them_in_gitlab(tmp_path: Path) -> None:
    gitlab = GitLabServer()
    async with gitlab.served() as server, acting(server, tmp_path) as drive:
        server.flags["hero"]["strategies"] = [gitlab.strategy("prod*", "*")]
        outcome = await drive.run({"hero": "off"})
        assert outcome.result == "fail"
        assert "by a scope that other environments share, *, prod*" in outcome.message
        assert "GITLAB_ENVIRONMENT=*" in outcome.message
        assert "hero was on already" in str((await drive.plan({"hero": "on"})).notes)
        server.flags["hero"]["active"] = False
        assert "inactive in all environments" in (await drive.run({"hero": "on"})).message
    assert server.writes == 0


async def test_the_whole_flag_is_switched_in_gitlab_where_that_is_set(tmp_path: Path) -> None:
    async with GitLabServer().served() as server:
        settings = server.settings(tmp_path).model_copy(update={"gitlab_environment": "*"})
        async with driven(ToggleFeature(settings)) as drive:
            plan = await drive.plan({"hero": "off"})
            await drive.apply(plan)
            assert not server.flags["hero"]["active"]
            assert (await drive.verify(plan)).result == "pass"
            assert await drive.undo(plan) == "undone"
            assert server.flags["hero"]["active"]
            assert "needs an environment" in await drive.refusal({"hero": "10%"})


async def test_what_applications_see_of_flagsmith_is_looked_at(tmp_path: Path) -> None:
    async with FlagsmithServer().served() as server, acting(server, tmp_path) as drive:
        plan = await drive.plan({"hero": "off"})
        await drive.apply(plan)
        body = b'{"feature": {"name": "hero"}, "enabled": true}'
        server.faults.extend([None, None, Fault(200, body=body)])
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "hero off, but applications still see it on" in outcome.message


async def test_flags_far_down_a_list_are_found_for_a_hint(tmp_path: Path) -> None:
    servers: tuple[StandIn, ...] = (LaunchDarklyServer(), GitLabServer())
    for server in servers:
        server.flags |= {f"flag-{n:03}": server.made(on=True) for n in range(220)}
        server.flags["zebra-crossing"] = server.made(on=True)
        async with server.served(), acting(server, tmp_path) as drive:
            assert "did you mean zebra-crossing?" in await drive.refusal({"zebra-crosing": "off"})


async def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    text = PAGE.read_text().partition("```yaml")[2].partition("```")[0]
    [remediation] = yaml.safe_load(text)["spec"]["remediations"]
    async with LaunchDarklyServer().served() as server, acting(server, tmp_path) as drive:
        server.flags["PromotionCampaign"] = server.made(on=True)
        for step in remediation["actionsOnOpen"]:
            assert step["action"] == ToggleFeature.name
            outcome = await drive.run(step["value"])
            assert outcome.result == "pass", outcome.message
    assert not server.flags["PromotionCampaign"]["on"]
    assert server.writes == 2


# --- settings ------------------------------------------------------------------------------------

HERE = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
LAUNCHDARKLY = {"LAUNCHDARKLY_API_TOKEN": SECRET, "LAUNCHDARKLY_PROJECT": "shop"}
CONFIGCAT = {"CONFIGCAT_USER": "me", "CONFIGCAT_PASSWORD": SECRET, "CONFIGCAT_SDK_KEY": SECRET}


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"LAUNCHDARKLY_API_TOKEN": SECRET}, "LAUNCHDARKLY_PROJECT is not: set it too"),
        ({"LAUNCHDARKLY_PROJECT": "shop"}, "LAUNCHDARKLY_API_TOKEN is not: set it too"),
        ({"GITLAB_PROJECT": "7"}, "GITLAB_API_TOKEN is not"),
        ({"FLAGSMITH_API_TOKEN": SECRET}, "FLAGSMITH_URL is not"),
        ({"CONFIGCAT_USER": "me", "CONFIGCAT_PASSWORD": SECRET}, "CONFIGCAT_SDK_KEY is not"),
        ({**CONFIGCAT, "CONFIGCAT_SDK_KEY": "prod=x,dev"}, "CONFIGCAT_SDK_KEY"),
        ({**LAUNCHDARKLY, **CONFIGCAT}, "there can be one store of flags: LAUNCHDARKLY_API_TOKEN"),
        ({**LAUNCHDARKLY, "FLAGD_FILE": "x"}, "LAUNCHDARKLY_API_TOKEN and FLAGD_FILE are set"),
        ({**LAUNCHDARKLY, "LAUNCHDARKLY_URL": "ftp://x"}, "LAUNCHDARKLY_URL"),
        ({**LAUNCHDARKLY, "LAUNCHDARKLY_URL": f"https://me:{SECRET}@x"}, "must not hold a user"),
        ({**LAUNCHDARKLY, "LAUNCHDARKLY_API_TOKEN": f"{SECRET}\nx"}, "must be one line"),
        ({"OPENFEATURE_FLAGS": "flags", **HERE}, "write namespace/name"),
        ({"OPENFEATURE_FLAGS": "{space}/flags", **HERE}, "there is no {space}"),
        ({"OPENFEATURE_FLAGS": "shop/flags"}, "needs a cluster"),
        ({"OPENFEATURE_FLAGS": "shop/flags", "KUBECONFIG": "/nowhere"}, "needs a cluster"),
    ],
)
def test_settings_that_make_no_store_turn_it_off_and_say_why(
    variables: dict[str, str], reason: str
) -> None:
    [entry] = of({ToggleFeature: "test"}, variables).entries
    assert entry.off
    assert reason in entry.off
    assert SECRET not in entry.off


def test_tokens_come_from_files(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    variables = {"LAUNCHDARKLY_PROJECT": "shop", "LAUNCHDARKLY_API_TOKEN_FILE": str(token)}
    [entry] = of({ToggleFeature: "test"}, variables).entries
    settings: Any = entry.action and entry.action.settings
    assert settings.launchdarkly_api_token.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


async def test_a_stage_without_a_key_is_told(tmp_path: Path) -> None:
    for server in (FlagsmithServer(), ConfigCatServer()):
        server.url = "http://127.0.0.1:9"
        action = ToggleFeature(server.settings(tmp_path))
        async with driven(action, stage="hardening") as drive:
            with pytest.raises(PermanentError, match=r"_(ENVIRONMENT|SDK_KEY) has .* hardening"):
                await drive.plan({"hero": "off"})


async def test_a_plan_for_a_store_that_is_no_longer_set_says_what_to_set(tmp_path: Path) -> None:
    async with LaunchDarklyServer().served() as server, acting(server, tmp_path) as drive:
        plan = await drive.plan({"hero": "off"})
    async with GitLabServer().served() as other, acting(other, tmp_path) as drive:
        with pytest.raises(PermanentError, match="planned for LaunchDarkly, which is no longer"):
            await drive.apply(plan)


def test_no_store_is_imported_before_it_is_used() -> None:
    modules = ["launchdarkly", "gitlab", "flagsmith", "configcat", "openfeature"]
    program = (
        "import sys, keptn_remedy_actions.toggle_feature as _\n"
        "package = 'keptn_remedy_actions.flag_backends.'\n"
        f"print([name for name in {modules} if package + name in sys.modules])"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- doctor --------------------------------------------------------------------------------------


async def test_doctor_says_whether_the_store_can_be_reached(
    server: StandIn, tmp_path: Path
) -> None:
    async with acting(server, tmp_path) as drive:
        action: Any = drive.action
        found = await action.diagnose(drive.context.http, ["shop-production"])
        assert found
        assert all(finding.is_good for finding in found), found
        server.faults.extend([Fault(403, body=b"{}")] * 3)
        refused = await action.diagnose(drive.context.http, ["shop-production"])
    assert [finding.is_good for finding in refused] == [False]
    assert refused[0].to_do
    assert server.writes == 0


async def test_doctor_says_that_a_token_may_not_change_flags_of_gitlab(tmp_path: Path) -> None:
    gitlab = GitLabServer()
    gitlab.role = 20
    async with gitlab.served() as server, acting(server, tmp_path) as drive:
        action: Any = drive.action
        [finding] = await action.diagnose(drive.context.http, [])
    assert (finding.is_good, finding.message) == (
        False,
        "the token has no role Developer in shop/carts",
    )
