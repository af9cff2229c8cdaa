"""toggle-feature: what it reads from `value` and settings, and how it edits a flagd file."""

import asyncio
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from pydantic import TypeAdapter, ValidationError

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy.registry import of
from keptn_remedy_actions.flag_backends import Switch
from keptn_remedy_actions.flag_backends.flagd import FlagdFile
from keptn_remedy_actions.flag_backends.flagd_definition import FIELDS
from keptn_remedy_actions.flag_backends.flagd_file import FlagsFile
from keptn_remedy_actions.toggle_feature import ToggleFeature, ToggleFeatureSettings
from tests.actions.driving import driven

VALUE: TypeAdapter[Mapping[str, bool | str]] = TypeAdapter(ToggleFeature.Value)
ON_AND_OFF = {"on": True, "off": False}


# --- value ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", [True, 1, "on", "On", "TRUE", "yes", "enabled", " on ", "1"])
def test_every_word_for_on_is_understood(on: object) -> None:
    assert VALUE.validate_python({"PromotionCampaign": on}) == {"PromotionCampaign": True}


@pytest.mark.parametrize("off", [False, 0, "off", "OFF", "false", "No", "disabled", "0"])
def test_every_word_for_off_is_understood(off: object) -> None:
    assert VALUE.validate_python({"PromotionCampaign": off}) == {"PromotionCampaign": False}


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("PromotionCampaign:on", {"PromotionCampaign": True}),
        ("PromotionCampaign:off", {"PromotionCampaign": False}),
        (" Promo : on , Other:off", {"Promo": True, "Other": False}),
    ],
)
def test_the_text_of_keptn_0_6_is_understood(text: str, wishes: Mapping[str, bool]) -> None:
    assert VALUE.validate_python(text) == wishes


@pytest.mark.parametrize("variant", ["25%", " festive ", "Größe 1"])
def test_any_other_text_is_the_name_of_a_variant(variant: str) -> None:
    assert VALUE.validate_python({"hero": variant}) == {"hero": variant.strip()}


@pytest.mark.parametrize("wish", ["", " ", "a\x1bb", None, 2, 1.5, [], {}])
def test_an_unknown_wish_is_refused_naming_the_flag(wish: object) -> None:
    with pytest.raises(ValidationError) as caught:
        VALUE.validate_python({"Fine": "on", "PromotionCampaign": wish})
    [mistake] = caught.value.errors()
    assert mistake["loc"] == ("PromotionCampaign",)
    assert "must be on or off" in mistake["msg"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "must map at least one flag to on, off or a variant"),
        ([], "must map at least one flag to on, off or a variant"),
        (True, "must map at least one flag to on, off or a variant"),
        ("PromotionCampaign", "must be a map"),
        ("PromotionCampaign:off:on", "must be a map"),
        ("", "must be a map"),
        ({"A": "on", " A ": "off"}, "more than once"),
        ("A:on,A:off", "more than once"),
        ({"": "on"}, "is not the name of a flag"),
        ({"a\nb": "on"}, "is not the name of a flag"),
    ],
)
def test_a_value_that_names_no_flag_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VALUE.validate_python(value)


def test_the_value_has_a_schema_that_tools_can_show() -> None:
    assert VALUE.json_schema()["anyOf"][1] == {"type": "string"}


# --- settings ------------------------------------------------------------------------------------


def off_because(**variables: str) -> str | None:
    [entry] = of({ToggleFeature: "test"}, variables).entries
    return entry.off


def settings_from(**variables: str) -> ToggleFeatureSettings:
    [entry] = of({ToggleFeature: "test"}, variables).entries
    assert entry.action is not None, entry.off
    assert isinstance(entry.action.settings, ToggleFeatureSettings)
    return entry.action.settings


UNLEASH = {"UNLEASH_URL": "http://unleash:4242", "UNLEASH_API_TOKEN": "*:*.secret"}


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "set UNLEASH_URL and UNLEASH_API_TOKEN, or FLAGD_FILE"),
        ({"UNLEASH_URL": "", "FLAGD_FILE": ""}, "set UNLEASH_URL and UNLEASH_API_TOKEN, or"),
        ({"UNLEASH_URL": "http://unleash"}, "UNLEASH_API_TOKEN is not"),
        ({"UNLEASH_API_TOKEN": "*:*.secret", "FLAGD_FILE": "x"}, "UNLEASH_URL is not"),
        (UNLEASH | {"UNLEASH_URL": "unleash:4242"}, "UNLEASH_URL"),
        (UNLEASH | {"UNLEASH_URL": "http://me:secret@unleash"}, "must not hold a user"),
        (UNLEASH | {"UNLEASH_API_TOKEN": "*:*.secret\nsecret"}, "must be one line"),
        (UNLEASH | {"UNLEASH_ENVIRONMENT": "prod=production,dev"}, "UNLEASH_ENVIRONMENT"),
        (UNLEASH | {"UNLEASH_VERIFY_SECONDS": "0"}, "UNLEASH_VERIFY_SECONDS"),
    ],
)
def test_settings_that_make_no_sense_turn_it_off_and_say_why(
    variables: dict[str, str], reason: str
) -> None:
    said = off_because(**variables)
    assert said
    assert reason in said
    assert "secret" not in said


@pytest.mark.parametrize("url", ["http://u:4242", "http://u:4242/", "http://u:4242/api/"])
def test_the_settings_of_keptns_old_service_are_understood(url: str) -> None:
    settings = settings_from(UNLEASH_SERVER_URL=url, UNLEASH_TOKEN="*:*.secret")
    assert settings.unleash == "http://u:4242"
    assert settings.unleash_api_token
    assert settings.unleash_api_token.get_secret_value() == "*:*.secret"


@pytest.mark.parametrize(
    ("setting", "environment"),
    [
        ("", "prod"),
        ("production", "production"),
        ("prod=production,staging=development", "production"),
        (" prod = production ", "production"),
        ("staging=development", "prod"),
    ],
)
def test_a_stage_maps_to_an_environment(setting: str, environment: str) -> None:
    settings = settings_from(**UNLEASH, UNLEASH_ENVIRONMENT=setting)
    assert settings.environment("prod") == environment


def test_an_empty_setting_keeps_its_default() -> None:
    assert settings_from(**UNLEASH, UNLEASH_PROJECT="").unleash_project == "default"


def test_no_secret_is_in_the_text_of_settings() -> None:
    assert "secret" not in repr(settings_from(**UNLEASH, UNLEASH_CLIENT_TOKEN="default:x.secret"))


# --- flagd ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the file is enough."""
    monkeypatch.setattr(FlagdFile, "SETTLE_SECONDS", 0.0)


def flag(**fields: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": ON_AND_OFF, "defaultVariant": "on", **fields}


def written(folder: Path, flags: Mapping[str, Any], **more: Any) -> Path:
    path = folder / "flags.json"
    path.write_text(json.dumps({**more, "flags": flags}, indent=2) + "\n")
    return path


def toggler(path: Path) -> ToggleFeature:
    return ToggleFeature(ToggleFeatureSettings(flagd_file=path))


def definition(path: Path, name: str = "Promo") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["flags"][name]
    return found


@contextmanager
def flagd_provider(path: Path) -> Iterator[FlagdProvider]:
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=20
    )
    provider.initialize(EvaluationContext())
    try:
        yield provider
    finally:
        provider.shutdown()


def evaluated(path: Path, *, otherwise: bool, name: str = "Promo") -> FlagResolutionDetails[bool]:
    """What an application gets whose default in code is `otherwise`."""
    with flagd_provider(path) as provider:
        who = EvaluationContext("me", {"email": "me@example.com"})
        return provider.resolve_boolean_details(name, otherwise, who)


IF_EXAMPLE = {"if": [{"ends_with": [{"var": "email"}, "@example.com"]}, "on", "off"]}
HARD_ONES = {
    "plain": flag(),
    "disabled": flag(state="DISABLED"),
    "disabled and off": flag(state="DISABLED", defaultVariant="off"),
    "targeting": flag(targeting=IF_EXAMPLE),
    "targeting the other way": flag(targeting={"if": [True, "off", "on"]}),
    "empty targeting": flag(targeting={}),
    "no default": {"state": "ENABLED", "variants": ON_AND_OFF},
    "null default": flag(defaultVariant=None),
    "other names": flag(variants={"yes": True, "no": False}, defaultVariant="yes"),
    "several that are on": flag(variants={"a": True, "b": True, "c": False}, defaultVariant="b"),
    "boolean default": flag(variants={"true": True, "false": False}, defaultVariant=True),
    "metadata": flag(metadata={"owner": "shop"}, targeting=None),
}


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("before", HARD_ONES.values(), ids=HARD_ONES)
async def test_flagd_evaluates_what_was_wished_and_undo_puts_everything_back(
    before: dict[str, Any], on: bool, tmp_path: Path
) -> None:
    path = written(tmp_path, {"Promo": before, "Other": flag()})
    original = path.read_bytes()
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": on})
        await drive.apply(plan)
        assert evaluated(path, otherwise=not on).value is on
        outcome = await drive.verify(plan)
        assert outcome.result == "pass"
        assert outcome.message == f"Promo {'on' if on else 'off'} in {path} (flagd)"
        await drive.undo(plan)
    assert path.read_bytes() == original


async def test_variants_that_are_no_booleans_are_chosen_by_name(tmp_path: Path) -> None:
    colours = {"on": "green", "off": "grey", "festive": "red"}
    path = written(tmp_path, {"Promo": flag(variants=colours, defaultVariant="festive")})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        assert str(plan) == f"flagd:{path}#Promo enabled: variant festive -> false"
        await drive.apply(plan)
    assert definition(path)["defaultVariant"] == "off"


@pytest.mark.parametrize("variants", [{"red": 1, "blue": 2}, {"on": True}, {"off": True}])
async def test_a_flag_without_a_variant_for_off_is_refused(
    variants: dict[str, Any], tmp_path: Path
) -> None:
    path = written(tmp_path, {"Promo": flag(variants=variants)})
    async with driven(toggler(path)) as drive:
        with pytest.raises(PermanentError, match="has no variant that is off"):
            await drive.plan({"Promo": "off"})


async def test_a_flag_that_is_so_already_is_noted_and_not_written(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag()})
    before = path.stat()
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "on"})
        assert plan.changes == ()
        assert plan.notes == ("Promo was on already",)
        await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        await drive.undo(plan)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


async def test_an_unknown_flag_is_refused_naming_similar_ones(tmp_path: Path) -> None:
    path = written(tmp_path, {"PromotionCampaign": flag(), "Other": flag()})
    async with driven(toggler(path)) as drive:
        with pytest.raises(PermanentError, match="did you mean PromotionCampaign\\?"):
            await drive.plan({"Other": "off", "PromotionCampain": "off"})


def broken(other: bytes) -> bytes:
    return b'{"flags": {"Promo": %b, %b}}' % (json.dumps(flag()).encode(), other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file .* set FLAGD_FILE"),
        (b"", "is not JSON"),
        (b"flags: {}", "is not JSON"),
        (b"\xff\xfe", "is not JSON: it is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "no map named"),
        (b'{"flags": []}', "no map named"),
        (b'{"flags": {"Promo": 1}}', "flag Promo .* has no map of variants"),
        (b'{"flags": {"Promo": {"state": "ENABLED"}}}', "has no map of variants"),
        (broken(b'"Other": {"state": "enabled", "variants": {"on": true}}'), 'Other .* "enabled"'),
        (broken(b'"Other": {"variants": {"on": true}}'), "Other .* has the state null"),
        (broken(b'"Other": {"state": "ENABLED"}'), "Other .* has no variants, so applications"),
        (broken(b'"Other": {"state": "ENABLED", "variants": {}}'), "Other .* has no variants"),
        (broken(b'"Other": 7'), "Other .* has no variants"),
    ],
)
async def test_a_file_that_is_no_flagd_file_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    if content is not None:
        path.write_bytes(content)
    async with driven(toggler(path)) as drive:
        with pytest.raises(PermanentError, match=message):
            await drive.plan({"Promo": "off"})
    assert content is None or path.read_bytes() == content


async def test_all_flags_are_written_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = written(tmp_path, {"A": flag(), "B": flag(), "C": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"A": "off", "B": "off", "C": "off"})
        changed = written(tmp_path, {"A": flag(), "B": flag(state="DISABLED"), "C": flag()})
        before = changed.read_bytes()
        with pytest.raises(PermanentError, match="B was changed by somebody else"):
            await drive.apply(plan)
        assert path.read_bytes() == before


async def test_applying_again_after_a_crash_is_harmless(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag(targeting=IF_EXAMPLE), "Other": flag()})
    original = path.read_bytes()
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off", "Other": "off"})
        await drive.apply(plan)
        once = path.read_bytes()
        await drive.apply(plan)
        assert path.read_bytes() == once
        await drive.undo(plan)
        await drive.undo(plan)
    assert path.read_bytes() == original


async def test_undo_leaves_what_somebody_else_changed_since(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag(), "Other": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off", "Other": "off"})
        await drive.apply(plan)
        theirs = flag(defaultVariant="off", targeting=IF_EXAMPLE)
        written(tmp_path, {"Promo": theirs, "Other": flag(defaultVariant="off")})
        promo = f"Promo in {path} (flagd) was changed since"
        why = "targeting is a rule, and none was expected"
        told = f"undone, but: {promo} ({why}), so it is left alone"
        assert await drive.undo(plan) == told
        assert await drive.undo(plan) == told.replace("undone", "it is as it was before")
    assert definition(path) == theirs
    assert definition(path, "Other") == flag()


async def test_undo_is_refused_where_somebody_changed_every_flag_since(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag(), "Other": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off", "Other": "off"})
        await drive.apply(plan)
        text = written(tmp_path, {"Promo": flag(state="DISABLED")}).read_bytes()
        with pytest.raises(Denied) as denied:
            await drive.undo(plan)
    assert str(denied.value) == (
        f"Promo in {path} (flagd) was changed since (state is DISABLED, and ENABLED was expected,"
        " defaultVariant is on, and off was expected), so it is left alone;"
        f" Other in {path} (flagd) is gone"
    )
    assert path.read_bytes() == text


async def test_undo_leaves_what_a_later_execution_switched(tmp_path: Path) -> None:
    before = flag(variants={**ON_AND_OFF, "dim": "low"}, defaultVariant="dim")
    path = written(tmp_path, {"Promo": before})
    async with driven(toggler(path)) as drive:
        first = await drive.plan({"Promo": "off"})
        await drive.apply(first)
        second = await drive.plan({"Promo": "on"})
        await drive.apply(second)
        with pytest.raises(Denied, match="defaultVariant is on, and off was expected"):
            await drive.undo(first)
        assert await drive.undo(second) == "undone"
        assert await drive.undo(first) == "undone"
    assert definition(path) == before


async def test_undo_does_not_bring_back_a_variant_that_is_gone(tmp_path: Path) -> None:
    variants = {"on": True, "off": False, "festive": True}
    path = written(tmp_path, {"Promo": flag(variants=variants, defaultVariant="festive")})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        text = written(tmp_path, {"Promo": flag(defaultVariant="off")}).read_bytes()
        with pytest.raises(Denied, match="was given other variants since, so it is left alone"):
            await drive.undo(plan)
    assert path.read_bytes() == text


async def test_undo_of_flags_whose_file_is_gone_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        path.unlink()
        with pytest.raises(Denied, match=r"flags\.json is gone"):
            await drive.undo(plan)


async def test_a_flag_that_was_switched_back_fails_verification(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        written(tmp_path, {"Promo": flag(state="DISABLED")})
        outcome = await drive.verify(plan)
    assert outcome.is_failure
    assert "Promo is state DISABLED, left to the callers' defaults" in outcome.message


async def test_an_edit_while_we_write_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {"Promo": flag()})
    theirs = json.dumps({"flags": {"Promo": flag(), "Theirs": flag()}})

    read = FlagsFile.read

    def raced(file: FlagsFile) -> str:
        found = read(file)
        path.write_text(theirs)  # right after we have read it
        return found

    switch = Switch(await FlagdFile(path).find("Promo", False), on=False)
    with monkeypatch.context() as patched:
        patched.setattr(FlagsFile, "read", raced)
        with pytest.raises(TemporaryError, match="is being written by somebody else"):
            await FlagdFile(path).switch([switch])
    assert path.read_text() == theirs
    assert names_in(tmp_path) == ["flags.json"]
    await FlagdFile(path).switch([switch])
    assert definition(path)["defaultVariant"] == "off"
    assert definition(path, "Theirs") == flag()


async def test_executions_that_edit_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    names = [f"flag-{number}" for number in range(30)]
    path = written(tmp_path, {name: flag() for name in names})
    async with driven(toggler(path)) as drive:
        await asyncio.gather(*(drive.run({name: "off"}) for name in names))
    assert all(definition(path, name)["defaultVariant"] == "off" for name in names)


async def test_a_file_held_by_another_process_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {"Promo": flag()})
    monkeypatch.setattr(FlagsFile, "LOCK_SECONDS", 0.02)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        with held(tmp_path), pytest.raises(TemporaryError, match="another process holds"):
            await drive.apply(plan)
        await drive.apply(plan)
    assert definition(path)["defaultVariant"] == "off"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_a_cancelled_write_has_ended_before_anything_follows(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        with held(tmp_path):
            applying = asyncio.create_task(drive.apply(plan))
            await asyncio.sleep(0)  # its thread now waits for the lock
            applying.cancel()
            await asyncio.sleep(0)
            assert not applying.done()
        with pytest.raises(asyncio.CancelledError):
            await applying
        assert definition(path)["defaultVariant"] == "off"
        await drive.undo(plan)
    assert definition(path)["defaultVariant"] == "on"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.005)


async def test_mode_owner_and_link_stay_and_no_other_file_is_left(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    path = written(real, {"Promo": flag()})
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    was = path.stat()
    link = tmp_path / "link.json"
    link.symlink_to(path)
    (real / ".flags.json.keptn-remedy").write_text("left behind by a crash")
    async with driven(toggler(link)) as drive:
        await drive.run({"Promo": "off"})
    now = path.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid)
    assert link.is_symlink()
    assert names_in(real) == ["flags.json"]


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_folder_that_can_not_be_written_says_so() -> None:
    with as_nobody(), tempfile.TemporaryDirectory() as name:
        path = written(Path(name), {"Promo": flag()})
        path.parent.chmod(0o500)
        async with driven(toggler(path)) as drive:
            plan = await drive.plan({"Promo": "off"})
            with pytest.raises(PermanentError, match="its folder must be writable"):
                await drive.apply(plan)
        path.parent.chmod(0o700)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere."""
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)


async def test_a_watching_application_sees_every_write_however_fast(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag()})
    future = time.time_ns() + 3_600 * 10**9  # an edit by a machine whose clock is ahead
    os.utime(path, ns=(future, future))
    with flagd_provider(path) as provider:
        async with driven(toggler(path)) as drive:
            for wish in [False, True, False]:
                await drive.run({"Promo": wish})
                await until(lambda wish=wish: is_on(provider) is wish)  # type: ignore[misc]
            plan = await drive.plan({"Promo": True})
            await drive.apply(plan)
            await until(lambda: is_on(provider))
            await drive.undo(plan)
            await until(lambda: not is_on(provider))


def is_on(provider: FlagdProvider) -> bool:
    return provider.resolve_boolean_details("Promo", False).value


@pytest.mark.parametrize(
    ("style", "start"),
    [
        ({"indent": "\t"}, '{\n\t"flags": {\n\t\t"Promo": {\n\t\t\t"state"'),
        ({"indent": 4}, '{\n    "flags": {\n        "Promo": {\n            "state"'),
        ({"separators": (",", ":")}, '{"flags":{"Promo":{"state":"ENABLED","variants"'),
        ({"ensure_ascii": False}, '{"flags": {"Promo": {"state": "ENABLED", "variants"'),
        ({}, '{"flags": {"Promo": {"state": "ENABLED", "variants"'),
    ],
    ids=["tabs", "four spaces", "compact", "umlauts", "one line"],
)
@pytest.mark.parametrize("end", ["", "\n"])
async def test_the_way_a_file_is_written_is_kept(
    style: dict[str, Any], start: str, end: str, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    on, off = ({"flags": {"Promo": flag(defaultVariant=wish)}, "by": "Ruß"} for wish in ON_AND_OFF)
    path.write_text(json.dumps(on, **style) + end)
    async with driven(toggler(path)) as drive:
        await drive.run({"Promo": "off"})
    assert path.read_text() == json.dumps(off, **style) + end
    assert path.read_text().startswith(start)


ODD = b"""{ "$evaluators" : {"x":{ }},
  "flags":{"Huge" :{"state":"ENABLED","variants":{"a":1e400,"b":-0.0,"c":1.0E+2}, "metadata":{}},
\t"Promo":{"variants" : {"on":true,"off":false},
      "targeting" : { "if" : [ true,
         1E999, 12345678901234567890123456789.10 ] } , "state":"ENABLED"},
  "Last":{"state":"DISABLED","variants":{"\\u00fc\\ud800":0.10}}
}, "by" : "Ru\xc3\x9f" ,"by": 1e400}\r\n"""


async def test_what_is_not_ours_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_bytes(ODD)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        rule = ODD[ODD.index(b'{ "if"') : ODD.index(b' , "state":"ENABLED"},')]
        end = b' , "state":"ENABLED"}'
        added = b' , "state":"ENABLED" , "defaultVariant":"off"}'
        assert path.read_bytes() == ODD.replace(rule, b"{}").replace(end, added)
        await drive.undo(plan)
    assert path.read_bytes() == ODD


async def test_of_a_doubled_flag_the_one_that_counts_is_switched(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    one = '"Promo": {"state": "ENABLED", "variants": {"on": true, "off": false}'
    text = (
        f'{{"flags": {{{one}, "defaultVariant": "off"}},'
        f' {one}, "defaultVariant": "off", "defaultVariant": "on"}}}}}}'
    )
    path.write_text(text)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        assert path.read_text() == text[::-1].replace('"no"', '"ffo"', 1)[::-1]
        assert evaluated(path, otherwise=True).value is False
        await drive.undo(plan)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "definition",
    [
        '{"variants":{"on":true,"off":false},"state":"DISABLED"}',
        '{\n "state":\t"DISABLED"\n,\n "variants": {"on":true,"off":false} }',
        '{"targeting":null, "state":"DISABLED","variants":{"on":true,"off":false}}',
    ],
)
async def test_fields_that_were_added_are_removed_without_a_trace(
    definition: str, tmp_path: Path
) -> None:
    path = tmp_path / "flags.json"
    text = f'{{"flags":{{"Promo":{definition}}}}}'
    path.write_text(text)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        assert evaluated(path, otherwise=True).value is False
        await drive.undo(plan)
    assert path.read_text() == text


async def test_the_plan_of_an_earlier_release_is_undone(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag(targeting=IF_EXAMPLE)})
    before = definition(path)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        switch: Any = plan.memo["switches"]
        image = json.loads(switch[0]["flag"]["image"])
        del image["written"]
        switch[0]["flag"]["image"] = json.dumps(image)
        await drive.apply(plan)
        await drive.undo(plan)
    assert definition(path) == before


# --- a variant by its name -----------------------------------------------------------------------

SHARES = {"0%": 0, "10%": {"share": 10}, "100%": {"share": 100}}


async def test_a_variant_is_chosen_by_its_name_and_undone(tmp_path: Path) -> None:
    hero = flag(variants=SHARES, defaultVariant="100%", targeting={"if": [True, "0%"]})
    path = written(tmp_path, {"hero": hero})
    original = path.read_bytes()
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"hero": "10%"})
        assert str(plan) == f"flagd:{path}#hero enabled: decided by targeting -> variant 10%"
        await drive.apply(plan)
        with flagd_provider(path) as provider:
            assert provider.resolve_object_details("hero", {}).value == {"share": 10}
        outcome = await drive.verify(plan)
        assert outcome.message == f"hero 10% in {path} (flagd)"
        again = await drive.plan({"hero": "10%"})
        assert (again.changes, again.notes) == ((), ("hero was 10% already",))
        assert await drive.undo(plan) == "undone"
    assert path.read_bytes() == original


async def test_a_percentage_of_callers_is_a_rule_by_their_keys_and_undone(tmp_path: Path) -> None:
    path = written(tmp_path, {"hero": flag(), "other": flag()})
    original = path.read_bytes()
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"hero": "10%"})
        assert str(plan) == f"flagd:{path}#hero enabled: true -> 10%"
        await drive.apply(plan)
        with flagd_provider(path) as provider:
            callers = [EvaluationContext(f"user-{number}") for number in range(1000)]
            reached = [provider.resolve_boolean_details("hero", True, c).value for c in callers]
            assert 60 < sum(reached) < 140
        assert (await drive.verify(plan)).result == "pass"
        assert not (await drive.plan({"hero": "10 %"})).changes
        assert await drive.undo(plan) == "undone"
    assert path.read_bytes() == original


async def test_an_unknown_variant_is_refused_naming_similar_ones(tmp_path: Path) -> None:
    path = written(tmp_path, {"hero": flag(variants=SHARES, defaultVariant="0%")})
    async with driven(toggler(path)) as drive:
        with pytest.raises(PermanentError) as refused:
            await drive.plan({"hero": "1%"})
    assert "has no variant 1%: it has 0%, 10%, 100%; did you mean" in str(refused.value)
    assert "set REMEDY_VALUE_SOURCE=remediation.yaml" in str(refused.value)


async def test_variants_named_by_another_word_for_on_and_off_are_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, {"hero": flag(variants={"enabled": "a", "disabled": "b"})})
    async with driven(toggler(path)) as drive:
        await drive.apply(await drive.plan({"hero": "off"}))
        assert definition(path, "hero")["defaultVariant"] == "disabled"
        await drive.apply(await drive.plan({"hero": "enabled"}))
        assert definition(path, "hero")["defaultVariant"] == "enabled"


# --- looking at it for a while -------------------------------------------------------------------


async def test_a_file_that_somebody_broke_since_is_no_success(tmp_path: Path) -> None:
    path = written(tmp_path, {"Promo": flag(), "Other": flag()})
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        broken = written(tmp_path, {"Promo": definition(path), "Other": flag(state="enabled")})
        with pytest.raises(PermanentError, match=r"Other .* applications refuse the whole file"):
            await drive.verify(plan)
        with pytest.raises(PermanentError, match=r"Other .* applications refuse the whole file"):
            await drive.apply(plan)
        assert await drive.undo(plan) == "undone"
    assert definition(broken) == flag()


async def test_a_flag_switched_back_before_applications_saw_it_fails_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, {"Promo": flag()})
    original = path.read_bytes()
    look = FlagdFile._look

    def looked(file: FlagdFile, switches: Any) -> Any:
        found = look(file, switches)
        path.write_bytes(original)  # right after our first look
        return found

    monkeypatch.setattr(FlagdFile, "SETTLE_SECONDS", 60.0)
    monkeypatch.setattr(FlagdFile, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(FlagdFile, "_look", looked)
    async with driven(toggler(path)) as drive:
        plan = await drive.plan({"Promo": "off"})
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert outcome.is_failure
    assert outcome.message == f"Promo is on in {path} (flagd)"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FLAGS = st.fixed_dictionaries(
    {
        "variants": st.just(ON_AND_OFF),
        "state": st.sampled_from(["ENABLED", "DISABLED"]),
    },
    optional={
        "defaultVariant": st.sampled_from(["on", "off", None, ""]),
        "targeting": st.none() | st.dictionaries(st.text(), JSON, max_size=3),
        "metadata": JSON,
    },
)


def shuffled(fields: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.permutations(list(fields.items())).map(dict)


DOCUMENTS = st.tuples(
    st.dictionaries(st.text(), JSON, max_size=3),
    st.dictionaries(st.text(min_size=1), FLAGS.flatmap(shuffled), max_size=3),
    FLAGS.flatmap(shuffled),
    st.sampled_from([None, 2, "\t"]),
    st.booleans(),
    st.booleans(),
)


@given(DOCUMENTS)
def test_whatever_else_is_in_the_file_stays_as_it_was(document: Any) -> None:
    more, others, promo, indent, ascii_only, on = document
    content = {**more, "flags": {**others, "Promo": promo}}
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flags.json")
        path.write_text(text, newline="")
        asyncio.run(switched_and_restored(FlagdFile(path), content, on=on))
        assert path.read_bytes() == text.encode()


async def switched_and_restored(store: FlagdFile, content: Any, *, on: bool) -> None:
    switch = Switch(await store.find("Promo", on), on=on)
    await store.switch([switch])
    assert (await store.verify([switch], seconds=1)).holds
    written = json.loads(store.path.read_text())
    assert without_decision(written) == without_decision(content)
    await store.restore([switch], {})


def without_decision(content: Any) -> str:
    """All but what decides how Promo evaluates; text, since == does not see the order of keys."""
    promo = {name: field for name, field in content["flags"]["Promo"].items() if name not in FIELDS}
    return json.dumps({**content, "flags": {**content["flags"], "Promo": promo}})
