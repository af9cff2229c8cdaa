"""toggle-feature against a real Unleash."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.toggle_feature import ToggleFeature, ToggleFeatureSettings
from tests.actions.driving import driven
from tests.unleash_server import RunningUnleash
from tests.waiting import until

NUMBERS = itertools.count()


def rolled_out(percent: str) -> dict[str, Any]:
    return {
        "name": "flexibleRollout",
        "parameters": {"rollout": percent, "stickiness": "default"},
    }


FULL = rolled_out("100")
QUARTER = rolled_out("25")
ONLY_STAFF = {
    **FULL,
    "constraints": [{"contextName": "userId", "operator": "IN", "values": ["staff"]}],
}


@dataclass(frozen=True)
class OneFlag:
    """A flag of its own for a test, in the environment production."""

    unleash: RunningUnleash
    name: str

    async def is_on(self) -> bool:
        return await self.unleash.is_enabled(self.name, "production")

    async def turn(self, *, on: bool) -> None:
        await self.unleash.set_flag(self.name, "production", on)

    async def archive(self) -> None:
        await self.unleash.archive_flag(self.name)

    async def add(self, strategy: dict[str, Any]) -> str:
        path = f"projects/default/features/{self.name}/environments/production/strategies"
        return str((await admin(self.unleash, "POST", path, strategy))["id"])

    async def remove(self, strategy: str) -> None:
        path = f"projects/default/features/{self.name}/environments/production/strategies"
        await admin(self.unleash, "DELETE", f"{path}/{strategy}")

    async def strategies(self) -> list[str]:
        path = f"projects/default/features/{self.name}/environments/production"
        state = await admin(self.unleash, "GET", path)
        return [strategy["id"] for strategy in state["strategies"]]

    async def history(self) -> list[str]:
        """The types of its events in Unleash, the newest first."""
        events = (await admin(self.unleash, "GET", f"events/{self.name}"))["events"]
        return [event["type"] for event in events]


async def admin(unleash: RunningUnleash, method: str, path: str, json: Any = None) -> Any:
    headers = {"Authorization": unleash.admin_token}
    async with (
        aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
        session.request(method, f"{unleash.url}/api/admin/{path}", json=json) as answer,
    ):
        return await answer.json() if answer.content_type == "application/json" else None


@pytest.fixture
async def flag(unleash: RunningUnleash) -> OneFlag:
    return await another(unleash)


async def another(unleash: RunningUnleash) -> OneFlag:
    flag = OneFlag(unleash, f"Promo-{next(NUMBERS)}")
    await unleash.create_flag(flag.name)
    return flag


@pytest.fixture
def toggling(unleash: RunningUnleash) -> Callable[..., Any]:
    """The action for that server; settings may be replaced, and so may the stage."""

    def toggling(*, stage: str = "production", **settings: Any) -> Any:
        return driven(toggler(unleash, **settings), stage=stage)

    return toggling


def toggler(unleash: RunningUnleash, **settings: Any) -> ToggleFeature:
    known = {"unleash_url": unleash.url, "unleash_api_token": unleash.admin_token}
    return ToggleFeature(ToggleFeatureSettings(**{**known, **settings}))


# --- switching -----------------------------------------------------------------------------------


async def test_a_flag_goes_off_and_on_in_its_environment(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    await flag.turn(on=True)
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "off"})
        assert str(plan) == f"unleash:default/production/{flag.name} enabled: true -> false"
        outcome = await drive.run({flag.name: "off"})
        assert outcome.result == "pass"
        assert outcome.message == f"{flag.name} off in production (Unleash project default)"
        assert not await flag.is_on()
        await drive.run({flag.name: "on"})
        assert await flag.is_on()
    assert not await flag.unleash.is_enabled(flag.name, "development")


async def test_a_percentage_is_the_rollout_of_its_strategy_and_undone(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    await flag.add(FULL)
    await flag.turn(on=True)
    path = f"projects/default/features/{flag.name}/environments/production"

    async def parameters() -> Any:
        [strategy] = (await admin(flag.unleash, "GET", path))["strategies"]
        return strategy["parameters"]

    before = await parameters()
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "10%"})
        assert str(plan).endswith("enabled: 100% -> 10%")
        for _ in range(2):
            await drive.apply(plan)
        assert await parameters() == {**before, "rollout": "10"}
        assert (await drive.verify(plan)).result == "pass"
        assert await drive.undo(plan) == "undone"
    assert await parameters() == before
    assert await flag.is_on()


@pytest.mark.parametrize(
    ("stage", "setting"), [("production", ""), ("prod", "prod=production"), ("x", "production")]
)
async def test_the_environment_follows_from_the_stage(
    stage: str, setting: str, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling(stage=stage, unleash_environment=setting) as drive:
        await drive.run({flag.name: "on"})
    assert await flag.is_on()


async def test_an_old_server_address_that_ends_in_api_will_do(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling(unleash_url=f"{flag.unleash.url}/api/") as drive:
        await drive.run({flag.name: "on"})
    assert await flag.is_on()


async def test_a_flag_that_is_so_already_is_noted_and_not_touched(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    before = await flag.history()
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "off"})
        assert plan.changes == ()
        assert plan.notes == (f"{flag.name} was off already",)
        outcome = await drive.run({flag.name: "off"})
    assert outcome.result == "warning"
    assert outcome.message.endswith(f"(Unleash project default) ({flag.name} was off already)")
    assert await flag.history() == before


async def test_the_same_plan_applied_again_has_one_effect(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
    assert (await flag.history()).count("feature-environment-enabled") == 1
    assert len(await flag.strategies()) == 1


async def test_a_flag_switched_back_by_somebody_else_fails_verification(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await flag.turn(on=False)
        outcome = await drive.verify(plan)
    assert outcome.is_failure
    assert f"no longer {flag.name} on in production" in outcome.message


# --- refusals ------------------------------------------------------------------------------------


async def test_an_archived_flag_is_refused(flag: OneFlag, toggling: Callable[..., Any]) -> None:
    await flag.archive()
    async with toggling() as drive:
        said = await drive.refusal({flag.name: "on"})
    assert said == f"flag {flag.name} of Unleash project default is archived"


async def test_a_flag_archived_while_it_was_on_is_not_on_already(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    await flag.turn(on=True)
    await flag.archive()
    async with toggling() as drive:
        said = await drive.refusal({flag.name: "on"})
    assert said == f"flag {flag.name} of Unleash project default is archived"


async def test_an_unknown_flag_is_refused_naming_similar_ones(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        said = await drive.refusal({flag.name.replace("Promo", "Pormo"): "on"})
    assert "is unknown in production (Unleash project default); did you mean" in said
    assert flag.name in said


@pytest.mark.parametrize("name", ["Größe", "a b", "x" * 101])
async def test_a_name_that_unleash_never_gives_is_not_asked_for(
    name: str, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        with pytest.raises(PermanentError, match="can't be the name of a flag"):
            await drive.plan({name: "on"})


async def test_an_unknown_environment_is_refused_naming_those_there_are(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling(stage="hardening") as drive:
        said = await drive.refusal({flag.name: "on"})
    assert "no environment hardening; it has development, production;" in said
    assert "UNLEASH_ENVIRONMENT" in said


async def test_a_flag_of_another_project_is_refused_naming_that(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling(unleash_project="shop") as drive:
        said = await drive.refusal({flag.name: "on"})
    assert re.search(r'in project "default".*UNLEASH_PROJECT', said)


@pytest.mark.parametrize("token", ["*:*.wrong", "user:wrong"])
async def test_a_wrong_token_is_refused_and_not_told(
    token: str, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling(unleash_api_token=token) as drive:
        said = await drive.refusal({flag.name: "on"})
    assert "does not know the token: set UNLEASH_API_TOKEN" in said
    assert token not in said


async def test_an_applications_token_is_refused(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    token = flag.unleash.backend_tokens["production"]
    async with toggling(unleash_api_token=token) as drive:
        said = await drive.refusal({flag.name: "on"})
    assert "UNLEASH_API_TOKEN is an application's token" in said


async def test_maintenance_mode_is_worth_another_attempt(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        async with maintenance(flag.unleash):
            with pytest.raises(TemporaryError, match="is in maintenance mode"):
                await drive.apply(plan)
        await drive.apply(plan)
    assert await flag.is_on()


@asynccontextmanager
async def maintenance(unleash: RunningUnleash) -> AsyncIterator[None]:
    await until(lambda: switched(unleash, maintained=True))
    try:
        yield
    finally:
        await until(lambda: switched(unleash, maintained=False))


async def switched(unleash: RunningUnleash, *, maintained: bool) -> bool:
    """Switch the mode and wait until it is in force.

    Unleash caches for a minute what its scheduler read just before the order was stored
    (`MaintenanceService.toggleMaintenanceMode`).
    """
    await admin(unleash, "POST", "maintenance", {"enabled": maintained})
    headers = {"Authorization": unleash.admin_token}
    url = f"{unleash.url}/api/admin/projects/default/features"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json={}) as answer,  # a mistake, if it is looked at
    ):
        return (answer.status == 503) == maintained


@pytest.mark.parametrize("name", ["../{}", "{}/environments/production/off?x=", "a%2F{}", "{}#x"])
async def test_a_name_can_not_reach_another_address(
    name: str, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    await flag.turn(on=True)
    async with toggling() as drive:
        said = await drive.refusal({name.format(flag.name): "off"})
    assert "can't be the name of a flag" in said
    assert await flag.is_on()


# --- all or nothing ------------------------------------------------------------------------------


async def test_one_unknown_flag_stops_all(flag: OneFlag, toggling: Callable[..., Any]) -> None:
    before = await flag.history()
    async with toggling() as drive:
        said = await drive.refusal({flag.name: "on", "nobody": "on"})
    assert "flag nobody is unknown" in said
    assert await flag.history() == before


async def test_when_one_fails_those_already_switched_are_put_back(
    flag: OneFlag, unleash: RunningUnleash, toggling: Callable[..., Any]
) -> None:
    was_on, archived, was_off = [await another(unleash) for _ in range(3)]
    await was_on.turn(on=True)
    strategies = await was_on.strategies()
    async with toggling() as drive:
        plan = await drive.plan(
            {flag.name: "on", was_on.name: "off", archived.name: "on", was_off.name: "on"}
        )
        await archived.archive()
        with pytest.raises(PermanentError, match="is archived"):
            await drive.apply(plan)
        assert await flag.is_on()
        told = await drive.undo(
            plan
        )  # what can be restored is restored, whatever happens to the others
        assert told.startswith(f"undone, but: {archived.name} is gone: flag {archived.name} of")
    assert not await flag.is_on()
    assert await flag.strategies() == []
    assert await was_on.is_on()
    assert await was_on.strategies() == strategies
    assert not await was_off.is_on()


# --- strategies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", ["25", "0"])
async def test_a_flag_with_disabled_strategies_only_does_not_go_on_for_everybody(
    rollout: str, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    before = [await flag.add({**rolled_out(rollout), "disabled": True})]
    async with toggling() as drive:
        outcome = await drive.run({flag.name: "on"})
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert f"all strategies of {flag.name} in production" in outcome.message
    assert "or set UNLEASH_ON_WITHOUT_STRATEGY=warn" in outcome.message
    assert not await flag.is_on()
    assert await flag.strategies() == before


async def test_where_it_may_go_on_for_everybody_the_plan_says_so_and_it_is_a_warning(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    await flag.add({**QUARTER, "disabled": True})
    async with toggling(unleash_on_without_strategy="warn") as drive:
        plan = await drive.plan({flag.name: "on"})
        assert "strategies: none that is active -> the default one, for everybody" in str(plan)
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "warning"
    assert "are disabled: switched on, Unleash adds its default one" in outcome.message
    assert await flag.is_on()


async def test_the_plan_for_a_flag_without_strategies_says_what_is_added(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        outcome = await drive.run({flag.name: "on"})
    assert "strategies: none that is active -> the default one, for everybody" in str(plan)
    assert outcome.result == "pass"


async def test_on_for_nobody_is_a_warning(flag: OneFlag, toggling: Callable[..., Any]) -> None:
    await flag.add(rolled_out("0"))
    async with toggling() as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "warning"
    assert f"nobody gets {flag.name}: the rollout of its active strategies is 0 %" in (
        outcome.message
    )


async def test_strategies_disabled_after_planning_keep_it_off(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    only = await flag.add(QUARTER)
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await flag.remove(only)
        with pytest.raises(PermanentError, match="lost its active strategies"):
            await drive.apply(plan)
    assert not await flag.is_on()
    assert await flag.strategies() == []


async def test_undo_of_off_does_not_give_the_flag_to_everybody(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    only = await flag.add(QUARTER)
    await flag.turn(on=True)
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "off"})
        await drive.apply(plan)
        await flag.remove(only)  # by somebody else
        with pytest.raises(Denied, match="lost its active strategies since"):
            await drive.undo(plan)
    assert not await flag.is_on()
    assert await flag.strategies() == []


# --- parents and children ------------------------------------------------------------------------


async def depending(flag: OneFlag, *, on: bool = True) -> OneFlag:
    """A new parent of the flag, which has to be on, or off, for it to be on."""
    parent = await another(flag.unleash)
    path = f"projects/default/features/{flag.name}/dependencies"
    await admin(flag.unleash, "POST", path, {"feature": parent.name, "enabled": on})
    return parent


async def test_a_parent_that_is_off_is_named(flag: OneFlag, toggling: Callable[..., Any]) -> None:
    parent = await depending(flag)
    async with toggling() as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "warning"
    assert outcome.message.endswith(
        f"what applications see: {flag.name} off, because its parent {parent.name} is off"
    )


async def test_a_parent_switched_on_with_its_child_is_no_reason_to_warn(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    parent = await depending(flag)
    async with toggling() as drive:
        outcome = await drive.run({flag.name: "on", parent.name: "on"})
    assert outcome.result == "pass"
    assert outcome.details["seen"][flag.name] == "not looked at (UNLEASH_CLIENT_TOKEN is not set)"


@pytest.mark.parametrize(("wish", "then"), [("on", "off"), ("off", "on")])
async def test_a_child_that_changes_the_other_way_is_named(
    wish: str, then: str, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    parent = await depending(flag, on=False)
    await parent.turn(on=wish == "off")
    await flag.turn(on=True)
    async with toggling() as drive:
        outcome = await drive.run({parent.name: wish})
    assert outcome.result == "warning"
    assert outcome.message.endswith(
        f"(applications then see {flag.name} {then}, which depends on {parent.name} being off)"
    )


# --- undo ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("disabled", [0, 1, 2])
async def test_undo_removes_the_strategy_that_switching_on_created(
    disabled: int, flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    for _ in range(disabled):
        await flag.add({**QUARTER, "disabled": True})
    before = await flag.strategies()
    async with toggling(unleash_on_without_strategy="warn") as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        assert len(await flag.strategies()) == disabled + 1
        await drive.undo(plan)
        await drive.undo(plan)
    assert not await flag.is_on()
    assert await flag.strategies() == before


async def test_undo_keeps_the_strategies_that_were_there(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    before = [await flag.add(QUARTER)]
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        added = await flag.add(ONLY_STAFF)  # by somebody else
        await drive.undo(plan)
    assert not await flag.is_on()
    assert sorted(await flag.strategies()) == sorted([*before, added])


async def test_undo_guesses_not_which_of_several_new_strategies_is_ours(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await flag.add(ONLY_STAFF)  # by somebody else
        told = await drive.undo(plan)
        assert f"2 strategies were added to {flag.name} in" in told
    assert not await flag.is_on()
    assert len(await flag.strategies()) == 2


async def test_undo_removes_the_strategy_that_was_created_whichever_came_after_it(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await drive.verify(plan)
        added = await flag.add(ONLY_STAFF)  # by somebody else
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "it is as it was before"
    assert not await flag.is_on()
    assert await flag.strategies() == [added]


async def test_undo_leaves_a_flag_whose_created_strategy_somebody_changed(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await drive.verify(plan)
        [created] = await flag.strategies()
        path = f"projects/default/features/{flag.name}/environments/production/strategies"
        await admin(flag.unleash, "PUT", f"{path}/{created}", QUARTER)
        with pytest.raises(Denied, match="it was changed since, so the flag is left alone"):
            await drive.undo(plan)
    assert await flag.is_on()
    assert await flag.strategies() == [created]


async def test_undo_of_a_flag_that_is_gone_is_refused(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        await flag.archive()
        with pytest.raises(Denied, match=f"^{flag.name} is gone: .* is archived"):
            await drive.undo(plan)


async def test_undo_leaves_a_flag_that_was_never_switched(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        added = await flag.add(ONLY_STAFF)  # by somebody else
        await drive.undo(plan)
    assert await flag.strategies() == [added]


async def test_undo_after_a_crash_between_its_two_steps_ends_it(
    flag: OneFlag, toggling: Callable[..., Any]
) -> None:
    async with toggling() as drive:
        plan = await drive.plan({flag.name: "on"})
        await drive.apply(plan)
        [created] = await flag.strategies()
        await flag.remove(created)
        await drive.undo(plan)
    assert not await flag.is_on()
    assert await flag.strategies() == []


# --- what applications see -----------------------------------------------------------------------


def seeing(flag: OneFlag, **settings: Any) -> Any:
    """The action with the client tokens of all environments."""
    tokens = ",".join(flag.unleash.backend_tokens.values())
    return driven(toggler(flag.unleash, **{"unleash_client_token": tokens, **settings}))


async def test_it_passes_once_applications_see_it_off_and_on(flag: OneFlag) -> None:
    await flag.turn(on=True)
    async with seeing(flag) as drive:
        for wish in ["off", "on"]:
            outcome = await drive.run({flag.name: wish})
            assert outcome.result == "pass"
            assert outcome.details == {"seen": {flag.name: wish}}


async def test_several_flags_are_seen_together(flag: OneFlag, unleash: RunningUnleash) -> None:
    other = await another(unleash)
    async with seeing(flag) as drive:
        outcome = await drive.run({flag.name: "on", other.name: "off"})
    assert outcome.details == {"seen": {flag.name: "on", other.name: "off"}}


async def test_on_for_a_part_of_the_users_is_reported_as_seen(flag: OneFlag) -> None:
    await flag.add(QUARTER)
    async with seeing(flag) as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "pass"
    seen = outcome.details["seen"][flag.name]
    words = seen.split()
    assert words[:2] == ["on", "for"]
    assert 5 < int(words[2]) < 50
    assert seen.endswith("of 100 sampled users (flexibleRollout 25 %)")


async def test_on_under_constraints_is_reported_as_seen(flag: OneFlag) -> None:
    await flag.add(ONLY_STAFF)
    async with seeing(flag) as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "pass"
    assert outcome.details["seen"][flag.name] == (
        "on for 0 of 100 sampled users (flexibleRollout 100 % with constraints)"
    )


async def test_off_under_a_gradual_rollout_is_exact(flag: OneFlag) -> None:
    await flag.add(QUARTER)
    await flag.turn(on=True)
    async with seeing(flag) as drive:
        outcome = await drive.run({flag.name: "off"})
    assert outcome.details == {"seen": {flag.name: "off"}}


async def test_a_flag_that_its_parent_keeps_off_fails_and_is_put_back(flag: OneFlag) -> None:
    parent = await depending(flag)
    async with seeing(flag, unleash_verify_seconds=2) as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.is_failure
    assert outcome.message == (
        f"{flag.name} on in production (Unleash project default),"
        f" but after 2 s applications still see: {flag.name} off, because its parent {parent.name}"
        " is off; undone"
    )
    assert not await flag.is_on()
    assert await flag.strategies() == []


@pytest.mark.parametrize("token", ["default:production.wrong", "*:production.wrong"])
async def test_what_could_not_be_fetched_is_neither_believed_nor_undone(
    token: str, flag: OneFlag
) -> None:
    await flag.turn(on=True)
    async with seeing(flag, unleash_client_token=token, unleash_verify_seconds=0.5) as drive:
        outcome = await drive.run({flag.name: "off"})
    assert outcome.result == "warning"
    assert "nothing could be fetched with UNLEASH_CLIENT_TOKEN" in outcome.message
    assert token not in outcome.message
    assert not await flag.is_on()


async def test_without_a_client_token_for_the_environment_only_the_admin_api_is_asked(
    flag: OneFlag,
) -> None:
    token = flag.unleash.backend_tokens["development"]
    async with seeing(flag, unleash_client_token=token) as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "pass"
    assert (
        outcome.details["seen"][flag.name] == "no token in UNLEASH_CLIENT_TOKEN is for production"
    )


async def test_a_look_shorter_than_unleash_takes_is_no_reason_to_undo(flag: OneFlag) -> None:
    parent = await depending(flag)
    async with seeing(flag, unleash_verify_seconds=1.5) as drive:
        outcome = await drive.run({flag.name: "on"})
    assert outcome.result == "warning"
    assert outcome.message.endswith(f"{flag.name} off, because its parent {parent.name} is off")
    assert await flag.is_on()


async def test_looking_ends_with_the_executions_own_time(flag: OneFlag) -> None:
    token = "default:production.wrong"
    action = toggler(flag.unleash, unleash_client_token=token, unleash_verify_seconds=200)
    async with asyncio.timeout(10), driven(action, seconds=3) as drive:
        outcome = await drive.verify(await drive.plan({flag.name: "off"}))
    assert outcome.result == "warning"


# --- a bad line to it ----------------------------------------------------------------------------


@dataclass
class Line:
    """A TCP line to the server, which may be slow or break."""

    port: int
    url: str = ""
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    answers_before_it_breaks: int | None = None
    carrying: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self.port)
        back = asyncio.create_task(self._carry_back(answers, writer))
        self.carrying.add(back)
        while request := await reader.read(65536):
            server.write(request)
        server.close()

    async def _carry_back(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while answer := await answers.read(65536):
            await self.answers.wait()
            if self.answers_before_it_breaks == 0:
                self.answers_before_it_breaks = None
                break
            if self.answers_before_it_breaks is not None:
                self.answers_before_it_breaks -= 1
            writer.write(answer)
        writer.close()


@asynccontextmanager
async def line_to(unleash: RunningUnleash) -> AsyncIterator[Line]:
    line = Line(int(unleash.url.rpartition(":")[2]))
    line.answers.set()
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        await asyncio.gather(*line.carrying)


async def test_an_answer_lost_on_the_way_back_is_no_second_effect(flag: OneFlag) -> None:
    async with line_to(flag.unleash) as line:
        action = toggler(flag.unleash, unleash_url=line.url)
        async with driven(action) as drive:
            plan = await drive.plan({flag.name: "on"})
            line.answers_before_it_breaks = 1  # that to reading the flag
            with pytest.raises(TemporaryError, match="can't be reached"):
                await drive.apply(plan)
            assert await flag.is_on()
            await drive.apply(plan)
            assert (await drive.verify(plan)).result == "pass"
    assert (await flag.history()).count("feature-environment-enabled") == 1


async def test_a_slow_server_is_not_waited_for_longer_than_set(flag: OneFlag) -> None:
    async with line_to(flag.unleash) as line:
        action = toggler(flag.unleash, unleash_url=line.url, unleash_timeout_seconds=0.3)
        async with driven(action) as drive:
            line.answers.clear()
            with pytest.raises(TemporaryError, match=r"did not answer within 0\.3 s"):
                await drive.plan({flag.name: "on"})
            line.answers.set()
            assert (await drive.run({flag.name: "on"})).result == "pass"


async def test_a_server_that_is_down_is_worth_another_attempt(flag: OneFlag) -> None:
    async with line_to(flag.unleash) as line:
        gone = line.url
    async with driven(toggler(flag.unleash, unleash_url=gone)) as drive:
        with pytest.raises(TemporaryError, match=r"can't be reached: Connection refused$"):
            await drive.plan({flag.name: "on"})
