"""The policy in force: read when its file changes; an invalid one is rejected."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy.events import LOG_ERROR, Report
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.journal import JournalError, Unsent
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.reading import MAX_BYTES
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

DENIES = "version: 1\nrules: [{name: stop, decision: deny}]"
ALLOWS = "version: 1\nrules: [{name: go, decision: allow}]"
BAD = "version: 1\nrules: [{name: typo, decison: deny}]"
SCOPE = Scope("sockshop", "production", "carts", "turn", target="a")


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def policy_of(file: Path | None, journal: SqliteJournal) -> PolicyFile:
    return PolicyFile(file, journal, ReplicaSettings().rules)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def hide(file: Path) -> None:
    file.rename(file.with_suffix(".away"))


def bring_back(file: Path) -> None:
    file.with_suffix(".away").rename(file)


async def begun(file: Path, journal: SqliteJournal, text: str) -> PolicyFile:
    write(file, text)
    policy = policy_of(file, journal)
    await policy.begin()
    return policy


def decision(policy: PolicyFile) -> str:
    return policy.rules.resolve(SCOPE).decision


# In service


async def test_a_change_is_taken_while_serving(rig: Rig) -> None:
    rig.policy.write_text(ALLOWS)
    async with rig.serving():
        await rig.acts(Ask())
        rig.policy.write_text(DENIES)
        await until(lambda: bool(rig.log.saying("the policy is in force")))
        await rig.refused(Ask(), "decision", "stop")


async def test_a_bad_change_keeps_the_last_good_policy_and_is_told_once(rig: Rig) -> None:
    rig.policy.write_text(DENIES)
    async with rig.serving() as service:
        registry = service.engine.runtime.metrics.registry
        rig.policy.write_text(BAD)
        await until(lambda: registry.get_sample_value("remedy_policy_rejected") == 1)
        for _ in range(5):
            rig.clock.forward(2)
            await rig.refused(Ask(), "decision", "stop")
        ready = await service.readiness.look()
        assert ready.ready
        assert "the policy was rejected, an earlier one stays in force: line 2" in ready.degraded[0]
        assert "did you mean decision?" in ready.degraded[0]
        rig.policy.write_text(ALLOWS)
        await until(lambda: registry.get_sample_value("remedy_policy_rejected") == 0)
        await rig.acts(Ask())
        assert (await service.readiness.look()).degraded == []
    told = [e for e in rig.keptn.received if e.type == LOG_ERROR and "policy" in str(e.data)]
    assert len(told) == len(rig.log.saying("the policy was rejected")) == 1


async def test_the_last_good_policy_holds_across_a_restart_with_a_bad_file(rig: Rig) -> None:
    rig.policy.write_text(DENIES)
    async with rig.serving():
        await rig.refused(Ask(), "decision", "stop")
    rig.policy.write_text(BAD)
    async with rig.serving() as service:
        ready = await service.readiness.look()
        assert (ready.ready, len(ready.degraded)) == (True, 1)
        await rig.refused(Ask(), "decision", "stop")
        await rig.keptn.wait_until(lambda: any(e.type == LOG_ERROR for e in rig.keptn.received))


async def test_setting_reload_has_it_read_at_once(rig: Rig) -> None:
    rig.policy.write_text(ALLOWS)
    async with rig.serving() as service:
        rig.policy.write_text(DENIES)
        service.reload.set()
        await until(lambda: bool(rig.log.saying("the policy is in force")))
        await rig.refused(Ask(), "decision", "stop")


async def test_a_rejection_is_logged_once_and_told_when_the_journal_works_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.policy.write_text(ALLOWS)
    async with rig.serving() as service:
        owe, tries = service.journal.owe, list[Report]()

        async def fail_at_first(report: Report) -> Unsent:
            tries.append(report)
            if len(tries) < 4:
                raise JournalError("the disk is full")
            return await owe(report)

        monkeypatch.setattr(service.journal, "owe", fail_at_first)
        rig.policy.write_text(BAD)
        service.reload.set()

        def is_told() -> bool:
            rig.clock.forward(1)
            return any(e.type == LOG_ERROR for e in rig.keptn.received)

        await until(is_told)
        assert len(tries) == 4
        assert len(rig.log.saying("the policy was rejected")) == 1


async def test_the_log_says_which_policy_came_into_force(rig: Rig) -> None:
    rig.policy.write_text(ALLOWS)
    async with rig.serving() as service:
        rig.policy.write_text(DENIES)
        service.reload.set()
        await until(lambda: bool(rig.log.saying("the policy is in force")))
        rig.policy.write_text(BAD)
        service.reload.set()
        await until(lambda: bool(rig.log.saying("the policy was rejected")))
    for saying in ("the policy is in force", "the policy was rejected"):
        (line,) = rig.log.saying(saying)
        assert (line["policy"], line["policy_rules"]) == (str(rig.policy), 1)
        assert line["policy_sha256"] == hashlib.sha256(DENIES.encode()).hexdigest()[:12]


# The file alone


async def test_without_a_file_the_defaults_hold(journal: SqliteJournal) -> None:
    policy = policy_of(None, journal)
    await policy.begin()
    assert policy.rules.is_default
    assert policy.in_force == {"policy": None}
    assert not await policy.look(at_once=True)


async def test_a_bad_file_at_the_very_start_is_an_error(file: Path, journal: SqliteJournal) -> None:
    with pytest.raises(PolicyError, match="did you mean decision") as raised:
        await begun(file, journal, BAD)
    assert raised.value.mistakes[0].startswith(f"{file}: line 2")


async def test_a_missing_file_at_the_very_start_is_an_error(
    file: Path, journal: SqliteJournal
) -> None:
    with pytest.raises(PolicyError) as raised:
        await policy_of(file, journal).begin()
    assert raised.value.mistakes == [f"{file}: it can't be read: there is no such file"]


async def test_a_file_that_waits_for_a_writer_is_an_error_at_once(
    file: Path, journal: SqliteJournal
) -> None:
    os.mkfifo(file)
    with pytest.raises(PolicyError, match="it isn't a regular file"):
        await policy_of(file, journal).begin()


async def test_a_file_is_taken_up_to_its_greatest_size_and_no_part_of_a_larger_one(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, f"{DENIES}\n#".ljust(MAX_BYTES, "x"))
    assert decision(policy) == "deny"
    write(file, f"{ALLOWS}\n#".ljust(MAX_BYTES + 1, "x"))
    await policy.look(at_once=True)
    assert policy.problem == "it is larger than 256 KiB"
    assert decision(policy) == "deny"


async def test_rules_are_made_beside_the_service(file: Path, journal: SqliteJournal) -> None:
    makers: list[int] = []

    def make(policy: Policy | None) -> Rules:
        makers.append(threading.get_ident())
        return ReplicaSettings().rules(policy)

    write(file, ALLOWS)
    policy = PolicyFile(file, journal, make)
    await policy.begin()
    write(file, DENIES)
    await policy.look(at_once=True)
    assert [maker == threading.get_ident() for maker in makers] == [True, False, False]


async def test_a_text_is_taken_when_it_was_seen_twice(file: Path, journal: SqliteJournal) -> None:
    policy = await begun(file, journal, ALLOWS)
    assert not await policy.look()
    write(file, DENIES)
    assert not await policy.look()
    assert decision(policy) == "allow"
    assert await policy.look()
    assert decision(policy) == "deny"
    assert not await policy.look()


async def test_what_is_half_written_is_neither_taken_nor_complained_about(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, ALLOWS)
    for half in (DENIES[:20], DENIES[:35], DENIES):
        write(file, half)
        assert not await policy.look()
        assert policy.problem is None
    assert await policy.look()
    assert decision(policy) == "deny"


async def test_at_once_a_text_need_not_be_seen_twice(file: Path, journal: SqliteJournal) -> None:
    policy = await begun(file, journal, ALLOWS)
    write(file, DENIES)
    assert await policy.look(at_once=True)
    assert decision(policy) == "deny"


async def test_a_bad_text_is_news_once_and_another_bad_one_again(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, DENIES)
    write(file, BAD)
    assert [await policy.look() for _ in range(4)] == [False, True, False, False]
    write(file, BAD.replace("typo", "another").replace("decison", "decisionn"))
    assert [await policy.look() for _ in range(3)] == [False, True, False]
    assert not await policy.look(at_once=True)
    assert decision(policy) == "deny"


async def test_a_bad_text_that_is_taken_back_leaves_no_complaint(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, DENIES)
    write(file, BAD)
    await policy.look(at_once=True)
    assert policy.problem
    write(file, DENIES)
    assert [await policy.look() for _ in range(2)] == [False, True]
    assert policy.problem is None


async def test_a_file_that_vanishes_and_returns_leaves_no_complaint(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, DENIES)
    hide(file)
    assert [await policy.look() for _ in range(3)] == [False, True, False]
    assert policy.problem
    assert "can't be read" in policy.problem
    assert decision(policy) == "deny"
    bring_back(file)
    assert [await policy.look() for _ in range(3)] == [False, True, False]
    assert policy.problem is None


async def test_a_file_that_vanishes_for_one_look_is_no_news(
    file: Path, journal: SqliteJournal
) -> None:
    policy = await begun(file, journal, DENIES)
    hide(file)
    assert not await policy.look()
    bring_back(file)
    assert not await policy.look()
    assert policy.problem is None


async def test_what_was_in_force_last_is_taken_by_the_next_process(
    file: Path, journal: SqliteJournal
) -> None:
    first = await begun(file, journal, ALLOWS)
    write(file, DENIES)
    await first.look(at_once=True)
    write(file, BAD)
    await first.look(at_once=True)
    second = policy_of(file, journal)
    await second.begin()
    assert decision(second) == "deny"
    assert second.problem
    assert "did you mean" in second.problem
    assert not await second.look()


async def test_a_link_that_is_swapped_as_a_configmap_is_followed(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    mounted(tmp_path, "one", ALLOWS)
    policy = policy_of(tmp_path / "policy.yaml", journal)
    await policy.begin()
    mounted(tmp_path, "two", DENIES)
    assert [await policy.look() for _ in range(2)] == [False, True]
    assert decision(policy) == "deny"


def mounted(folder: Path, version: str, text: str) -> None:
    """As the kubelet does it: a link to the folder of this version replaces that of another."""
    (folder / version).mkdir()
    (folder / version / "policy.yaml").write_text(text)
    (folder / "..tmp").symlink_to(version)
    (folder / "..tmp").rename(folder / "..data")
    link = folder / "policy.yaml"
    if not link.is_symlink():
        link.symlink_to("..data/policy.yaml")
