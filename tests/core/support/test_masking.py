"""Secrets don't leave the process, in whatever form."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretBytes, SecretStr

from keptn_remedy import (
    Action,
    ActionSettings,
    Change,
    Context,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
    Retry,
    TemporaryError,
    service,
)
from keptn_remedy.journal import WholeRecord
from keptn_remedy.service import Service
from keptn_remedy.support.masking import MASK, Mask, secrets_of
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.log_lines import LogLines, captured_logs
from tests.providing import event_url, settings

TOKEN = 'hunter2 "of\\backslashes"\tand ünïcode'
FIRST, SECOND = "default:production.1234567890", "default:staging.abcdefghij"


class KeeperSettings(ActionSettings):
    token: SecretStr = SecretStr(TOKEN)
    tokens: SecretStr = SecretStr(f"{FIRST},{SECOND}")
    key: SecretBytes = SecretBytes(b"some bytes")


class Keeper(Action):
    """Writes its secrets wherever it can."""

    name = "keeper"
    Settings = KeeperSettings
    Value = str
    retry = Retry(attempts=2, first=0.01, longest=0.02)
    settings: KeeperSettings

    async def run(self, context: Context, value: str) -> Outcome:
        told = f"{self.settings.token.get_secret_value()} and {FIRST}"
        context.log.info(told, token=told, nested={"deep": [told]}, shown=repr(told))
        if value == "passed":
            return Outcome.passed(f"with {told}", token=told, **{"list": [{"of": told}], SECOND: 1})
        if value == "unexpected":
            raise ValueError(f"bad token {told!r}")
        if value == "temporary":
            raise TemporaryError(f"busy with {told}")
        raise PermanentError(f"no use of {told}")


class PlannedKeeper(PlannedAction):
    """Plans with a secret."""

    name = "planned-keeper"
    Settings = KeeperSettings
    Value = str

    async def plan(self, context: Context, value: Any) -> Plan:
        return Plan((Change("vault", "token", None, TOKEN),), notes=(f"used {TOKEN}",))

    async def apply(self, context: Context, plan: Plan) -> None:
        context.log.info("applied", plan=str(plan))

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.failed(f"found {TOKEN}", found=TOKEN)

    async def undo(self, context: Context, plan: Plan) -> None:
        raise PermanentError(f"kept {TOKEN}")


@pytest.fixture
def mask() -> Mask:
    return Mask(secrets_of(KeeperSettings()))


def test_every_secret_of_a_settings_object_is_found_and_lists_are_taken_apart() -> None:
    found = secrets_of(KeeperSettings())
    assert {TOKEN, f"{FIRST},{SECOND}", FIRST, SECOND, "some bytes"} <= set(found)


@pytest.mark.parametrize("settings_of_sorts", [None, {}, "a text"])
def test_what_is_no_settings_object_has_no_secrets(settings_of_sorts: object) -> None:
    assert secrets_of(settings_of_sorts) == []


@pytest.mark.parametrize("text", [TOKEN, repr(TOKEN), FIRST, f"a{SECOND}b{FIRST}"])
def test_a_secret_is_masked_in_text(mask: Mask, text: str) -> None:
    masked = mask.text(f"before {text} after")
    assert MASK in masked
    assert _is_clean(masked.encode())
    assert masked.startswith("before ")
    assert masked.endswith(" after")


def test_a_secret_is_masked_in_what_is_json_already(mask: Mask) -> None:
    line = mask.line(orjson.dumps({"token": TOKEN, TOKEN: [FIRST]}))
    assert orjson.loads(line) == {"token": MASK, MASK: [MASK]}


def test_a_secret_is_masked_inside_maps_and_lists(mask: Mask) -> None:
    value = {"a": [TOKEN, 5, None, {"b": (FIRST,)}], TOKEN: True}
    assert mask.value(value) == {"a": [MASK, 5, None, {"b": [MASK]}], MASK: True}


def test_a_secret_inside_a_longer_one_does_not_spoil_it() -> None:
    assert Mask(["secret", "secret-and-more"]).text("secret-and-more") == MASK


def test_what_is_too_short_to_hide_is_left() -> None:
    assert Mask(["on"]).text("one moment") == "one moment"


def test_a_secret_that_comes_later_is_replaced_from_then_on() -> None:
    mask = Mask(["secret"])
    assert mask.text("secret and later") == f"{MASK} and later"
    mask.hide("secret and later")
    assert mask.text("secret and later, secret") == f"{MASK}, {MASK}"
    assert mask.line(b"secret and later, secret") == f"{MASK}, {MASK}".encode()


def test_of_secrets_that_replace_each_other_the_last_two_are_masked() -> None:
    mask = Mask(["another"])
    for number in range(1_000):
        mask.hide_passing(f"token-{number}")
    mask.hide_passing("token-998")
    assert mask.text("token-998 token-999 another") == f"{MASK} {MASK} {MASK}"
    assert mask.line(b"token-997 token-999") == f"token-997 {MASK}".encode()
    assert len(mask._secrets) == 3


def test_half_a_surrogate_becomes_a_question_mark(mask: Mask) -> None:
    assert mask.text("a\ud800b") == "a?b"


# In the running service


class Leak:
    """A provider with its log, its Keptn and its journal."""

    def __init__(self, running: Service, keptn: FakeKeptn, log: LogLines) -> None:
        self.service = running
        self.keptn = keptn
        self.log = log

    async def run(self, action: str, value: str) -> WholeRecord:
        event = triggered(action, value)
        await self.keptn.deliver(event, to=event_url(self.service))
        outcome = await self.keptn.task_finished(event["id"])
        if outcome.result == "fail":
            await self.keptn.wait_until(lambda: self.keptn.received[-1].type.endswith("log.error"))
        record = await self.service.journal.record(event["id"])
        assert record is not None
        return record


@pytest.fixture
async def leak(tmp_path: Path, mask: Mask) -> AsyncIterator[Leak]:
    registry = registry_of(Keeper, PlannedKeeper, settings=KeeperSettings())
    with captured_logs(mask) as log:
        async with (
            FakeKeptn() as keptn,
            service.running(
                settings(tmp_path / "journal.db", keptn, error_log="always"),
                registry,
                mask=mask,
            ) as running,
        ):
            yield Leak(running, keptn, log)


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("keeper", "passed"),
        ("keeper", "unexpected"),
        ("keeper", "temporary"),
        ("keeper", "permanent"),
        ("planned-keeper", ""),
    ],
)
async def test_no_secret_leaves_in_logs_reports_or_outcomes(
    leak: Leak, action: str, value: str
) -> None:
    record = await leak.run(action, value)
    for report in leak.keptn.received:
        assert _is_clean(report.body)
    assert _is_clean(leak.log.raw)
    assert _is_clean(str(record.message).encode())
    assert _is_clean(orjson.dumps(record.details))
    assert MASK in str(record.message)
    assert MASK.encode() in leak.log.raw


def _is_clean(written: bytes) -> bool:
    """Whether no part of a secret is in it, however quotes are written."""
    text = written.decode()
    return not any(part in text for part in ("hunter2", "backslashes", FIRST, SECOND))
