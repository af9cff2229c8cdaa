"""What must not happen without Keptn: each on the whole service, with stand-ins on loopback.

What Alertmanager tells late, or never, is tried on a real one in test_real_news.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from keptn_remedy.standalone.sources import SourcesFile
from keptn_remedy.standalone.words import explain
from tests.standalone.rig import PROMQL, SECRET, SOURCES, Rig, Switch, standalone
from tests.waiting import until


def log_in_page() -> web.Response:
    return web.Response(text="<html>log in", content_type="text/html")


def syntax_error() -> web.Response:
    return web.json_response({"status": "error", "error": "parse error"}, status=400)


async def acted(rig: Rig, **labels: str) -> dict[str, Any]:
    """A problem whose first remedy has been tried."""
    alert = rig.world.fire("f1", **labels)
    assert await rig.send(alert) == 202
    await rig.until_state("settling", step=5)
    assert Switch.applied == ["one"]
    return alert


async def test_a_repeat_neither_starts_nor_advances_nor_repeats_a_rung(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        alert = await acted(rig)
        before = (await rig.whole()).episode
        for began in (alert["startsAt"], "2026-03-02T13:00:00Z"):
            assert await rig.send({**alert, "startsAt": began}) == 202
        after = (await rig.whole()).episode
        assert len(await rig.episodes()) == 1
        assert (after.due_at, after.tries, after.state) == (before.due_at, 1, "settling")
        assert Switch.applied == ["one"]


async def test_two_alertmanagers_that_deliver_the_same_alert_begin_one_ladder(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        alert = rig.world.fire("f1")
        answers = await asyncio.gather(*(rig.send(alert, externalURL=f"am-{n}") for n in (0, 1)))
        assert answers == [202, 202]
        await rig.until_state("settling", step=5)
        rig.clock.forward(15)
        await rig.send(alert, externalURL="am-1")
        assert len(await rig.episodes()) == 1
        assert Switch.applied == ["one"]


async def test_every_alert_of_a_group_is_handled(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        group = [rig.world.fire(f"f{n}", service=f"carts{n}") for n in range(3)]
        await rig.send(*group)
        assert {each.service for each in await rig.episodes()} == {"carts0", "carts1", "carts2"}


async def test_a_target_that_died_is_no_remedy_that_helped(tmp_path: Path) -> None:
    async with standalone(tmp_path, policy=UNDO) as rig:
        await acted(rig)
        # The alert goes, and so does what it measured.
        del rig.world.series["errors"]
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
        assert "can't tell" in (episode.reason or "")
        assert "no evidence: errors answers nothing" in (episode.reason or "")
        await rig.until_state("closed", step=10)
        assert (await rig.whole()).episode.closing == "unverified"
        assert (Switch.applied, Switch.undone) == (["one"], [])


UNDO = "version: 1\nrules: [{name: all, undo: {on_closed: true}}]\n"


async def test_an_old_value_is_no_evidence(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        await acted(rig)
        rig.world.series["time() - timestamp(errors)"] = 61
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
        assert "the newest sample of errors is 61 s old" in (episode.reason or "")


async def test_an_answer_with_a_warning_is_no_evidence_that_the_alert_is_gone(
    tmp_path: Path,
) -> None:
    def partly() -> web.Response:
        found = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "0"]}]}
        warnings = ["a store did not answer: the answer is partial"]
        return web.json_response({"status": "success", "data": found, "warnings": warnings})

    async with standalone(tmp_path) as rig:
        await acted(rig)
        rig.world.series["errors"] = partly
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
        assert "Prometheus warns: a store did not answer" in (episode.reason or "")


async def test_what_other_targets_measure_is_no_evidence(tmp_path: Path) -> None:
    def by_service(**values: str) -> web.Response:
        found = [{"metric": {"service": name}, "value": [0, v]} for name, v in values.items()]
        data = {"resultType": "vector", "result": found}
        return web.json_response({"status": "success", "data": data})

    async with standalone(tmp_path) as rig:
        await acted(rig)
        rig.world.series["errors"] = lambda: by_service(carts="0", orders="0")
        ages = {"carts": "61", "orders": "1"}
        rig.world.series["time() - timestamp(errors)"] = lambda: by_service(**ages)
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
        assert "the newest sample of errors is 61 s old" in (episode.reason or "")


async def test_what_prometheus_says_right_after_its_start_counts_for_nothing(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        await acted(rig)
        rig.world.prometheus_began = "2999-01-01T00:00:00Z"
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
        assert "Prometheus has just started" in (episode.reason or "")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "no data"),
        ("NaN", "no data: the answer is nan"),
        (["1", "2"], "2 series where one number is meant"),
        (log_in_page, "no answer of its API"),
        (syntax_error, "Prometheus answers 400: parse error"),
    ],
)
async def test_a_number_that_is_none_is_not_judged(tmp_path: Path, answer: Any, why: str) -> None:
    async with standalone(tmp_path, remediation=PROMQL.replace("QUERY", "errors")) as rig:
        await acted(rig)
        rig.world.series["errors"] = answer
        episode = await rig.until_state("held", step=5)
        [rung] = await rig.rungs()
        assert (rung.verdict, Switch.applied) == ("unknown", ["one"])
        assert why in (episode.reason or "")


async def test_a_judge_that_is_away_for_its_whole_window_leads_to_no_further_rung(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        await acted(rig)
        rig.world.prometheus_answer = lambda: web.Response(status=503)
        episode = await rig.until_state("escalated", step=5)
        assert "Prometheus can't be asked" in (episode.reason or "")
        assert Switch.applied == ["one"]


async def test_a_silence_before_the_first_act_holds_the_ladder_until_it_ends(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        alert = rig.world.fire("f1")
        alert["silenced"] = True
        await rig.send(alert)
        episode = await rig.until_state("held", step=5)
        assert episode.reason == "the alert is silenced or inhibited"
        await rig.pass_by(60)
        assert Switch.applied == []
        alert["silenced"] = False
        await rig.until_state("settling", step=5)
        assert Switch.applied == ["one"]


async def test_a_silence_between_two_rungs_holds_the_second(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        alert = await acted(rig)
        alert["silenced"] = True
        await rig.until_state("held", step=5)
        await rig.pass_by(60)
        assert Switch.applied == ["one"]
        del alert["silenced"]
        await rig.until_acts(2)
        assert Switch.applied == ["one", "two"]


async def test_severity_and_replica_make_no_trouble_of_their_own(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        await rig.send(
            rig.world.fire("f1", severity="warning", replica="a"),
            rig.world.fire("f2", severity="critical", replica="a"),
            rig.world.fire("f3", severity="critical", replica="b"),
        )
        assert len(await rig.episodes()) == 1


async def test_our_own_alert_is_ignored(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        own = rig.world.fire("f1", alertname="RemedyGaveUp", remedy_self="true")
        assert await rig.send(own) == 202
        assert await rig.episodes() == []
        [(ignored, _, _)] = await rig.journal.ignored(9)
        assert ignored.reason == "it is an alert of our own"


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"team": "bank"}, "project bank is not among those that this source may name"),
        ({"team": "../../etc"}, "the project '../../etc' is no name"),
        ({"service": "Carts"}, "the service 'Carts' is no name"),
        ({"service": ""}, "no service: it has no label service"),
        ({"service": "c" * 64}, "is no name"),
    ],
)
async def test_a_label_reaches_no_other_place(
    tmp_path: Path, labels: dict[str, str], why: str
) -> None:
    async with standalone(tmp_path) as rig:
        assert await rig.send(rig.world.fire("f1", **labels)) == 202
        assert await rig.episodes() == []
        [(ignored, _, _)] = await rig.journal.ignored(9)
        assert why in ignored.reason


@pytest.mark.parametrize("in_one", [True, False])
async def test_a_storm_starts_no_ladder(tmp_path: Path, in_one: bool) -> None:
    async with standalone(tmp_path) as rig:
        alerts = [rig.world.fire(f"f{n}", service=f"s{n}") for n in range(40)]
        for message in [alerts] if in_one else [[each] for each in alerts]:
            assert await rig.send(*message) == 202
        rig.clock.forward(10)

        async def all_are_held() -> bool:
            return {each.state for each in await rig.episodes()} == {"held"}

        await until(all_are_held)
        found = await rig.episodes()
        assert found[0].reason == "40 problems of production began at once, more than 20"
        assert Switch.applied == []


async def test_what_concerns_nobody_is_accepted(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        foreign = rig.world.fire("f1", team="bank")
        assert await rig.send(foreign) == 202
        assert await rig.send({**rig.world.fire("f2"), "status": "resolved"}) == 202
        assert await rig.send() == 202
        assert await rig.episodes() == []


async def test_a_rung_without_a_value_has_none_of_the_rung_before(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        await acted(rig)
        await rig.until_acts(2)
        first, second = await rig.rungs()
        events = [
            orjson.loads((await rig.journal.record(each.execution)).event)
            for each in (first, second)
        ]
    assert [each["data"]["action"].get("value") for each in events] == [{"to": "one"}, None]


async def test_a_message_of_5000_alerts_is_stored(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        filling = {"description": "x" * 300}
        alerts = [
            {
                "labels": {"alertname": "A", "service": f"s{n}"},
                "annotations": filling,
                "status": "firing",
                "fingerprint": f"f{n}",
            }
            for n in range(5000)
        ]
        assert await rig.send(*alerts) == 202
        assert '"alerts":5000' in rig.answer


async def test_alertmanagers_that_cannot_be_asked_hold_the_ladder_and_then_a_person_is_told(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.alertmanager_is_away = True
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("held", step=5)
        episode = await rig.until_state("escalated", step=10)
        assert episode.reason == "no Alertmanager can be asked for 5m"
        assert Switch.applied == []
        assert rig.world.posted == []
        rig.world.alertmanager_is_away = False
        await rig.until_told()


async def test_a_receiver_that_no_alertmanager_has_is_told_and_is_no_news_of_an_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = SOURCES.replace("    project:", "    receiver: remdy\n    project:", 1)
    async with standalone(tmp_path, sources=wrong) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("held", step=5)
        await rig.until_holds(lambda: bool(troubles(rig)))
        [trouble] = troubles(rig)
        episode = await rig.until_state("escalated", step=10)
        assert Switch.applied == []
    why = "it has no receiver 'remdy', but default, remedy; did you mean remedy?"
    assert trouble.startswith("an Alertmanager of source shop can't be asked: http://")
    assert trouble.endswith(why)
    assert "it has no receiver 'remdy'" in capsys.readouterr().out.replace("\\'", "'")
    assert episode.reason == "no Alertmanager can be asked for 5m"


async def test_an_alertmanager_that_names_no_receivers_is_believed(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.receivers = ()
        alert = rig.world.fire("f1")
        rig.world.alerts.clear()
        await rig.send(alert)

        async def is_absent() -> bool:
            [episode] = await rig.episodes()
            return episode.absent_since is not None

        await rig.until_true(is_absent)
        assert troubles(rig) == []


async def test_the_password_of_an_address_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = SOURCES.replace('"{url}/am"', '"{url}/am", "http://us:hidden@127.0.0.1:9/am"')
    async with standalone(tmp_path, sources=sources) as rig:
        assert rig.service.standalone
        await rig.until_holds(lambda: any("127.0.0.1:9" in each for each in troubles(rig)))
        assert "hidden" not in "".join(troubles(rig))
        file = SourcesFile.load((tmp_path / "sources.yaml").read_text())
    assert "127.0.0.1:9/am" in "".join(explain(file))
    assert "hidden" not in "".join([*explain(file), *capsys.readouterr()])


def troubles(rig: Rig) -> list[str]:
    assert rig.service.standalone
    return list(rig.service.standalone.troubles())


async def test_an_answer_that_is_no_listing_counts_as_none_and_ends_nothing(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        alert = rig.world.fire("")  # no fingerprint
        await rig.send({**alert, "fingerprint": "f1"})
        episode = await rig.until_state("held", step=5)
        assert episode.reason == "no Alertmanager can be asked"
        rig.world.alerts.clear()
        rig.world.fire("f1")
        await rig.until_acts(1)


ASK = "version: 1\nrules: [{name: ask, mode: approve, approve_within: 1d}]\n"


@pytest.mark.parametrize("by", ["listing", "message", "silence", "no answer"])
async def test_an_approval_after_the_end_of_the_alert_or_under_a_silence_does_not_act(
    tmp_path: Path, by: str
) -> None:
    async with standalone(tmp_path, policy=ASK) as rig:
        alert = rig.world.fire("f1")
        await rig.send(alert)
        first = await asked(rig)
        if by == "silence":
            alert["silenced"] = True
        elif by == "no answer":
            rig.world.alertmanager_is_away = True
        else:
            gone = rig.world.resolve("f1")
            if by == "message":
                await rig.send(gone)
        rig.clock.forward(2)  # answers of Alertmanagers are shared for a second
        await approve(rig, first)
        await rig.until_true(lambda: was_given_up(rig, first))
        assert Switch.applied == []
        # What fires again is asked about anew, as it may be another trouble.
        rig.world.alerts["f1"] = alert
        alert["silenced"] = rig.world.alertmanager_is_away = False
        second = await asked(rig, but=first)
        await approve(rig, second)
        await rig.until_acts(1)
    assert Switch.applied == ["one"]


async def asked(rig: Rig, but: str = "") -> str:
    """The execution that asks for approval, once one does."""
    found: list[str] = []

    async def asks() -> bool:
        for each in await rig.rungs() if await rig.episodes() else ():
            record = await rig.journal.record(each.execution)
            if each.execution != but and record and record.question:
                found.append(each.execution)
        return bool(found)

    await rig.until_true(asks)
    return found[0]


async def approve(rig: Rig, execution: str) -> None:
    assert await rig.journal.answer(execution, "approved", "me", None) is None
    rig.service.engine.look()


async def was_given_up(rig: Rig, execution: str) -> bool:
    record = await rig.journal.record(execution)
    assert record
    return str(record.status) == "aborted"


async def test_where_nobody_is_asked_the_messages_alone_count(tmp_path: Path) -> None:
    sources = SOURCES.replace('alertmanagers: ["{url}/am"]', "confirm: off")
    async with standalone(tmp_path, sources=sources) as rig:
        await acted(rig)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)


async def test_a_wrong_secret_or_source_or_body_stores_nothing(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        alert = rig.world.fire("f1")
        rig.world.alerts.clear()
        assert await rig.send(alert, secret="wrong") == 401
        assert await rig.send(alert, source="nobody") == 404
        assert await rig.post(b"{") == 400
        assert await rig.post(b'{"text": "a template of the site"}') == 400
        assert "is the body replaced by a template" in rig.answer
        assert await rig.post(b"x" * (16 * 1024**2 + 1)) == 413
        assert await rig.episodes() == []


async def test_a_secret_that_was_replaced_counts_at_once_and_the_old_one_for_a_second_at_most(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        alert, new = rig.world.fire("f1"), "another secret of 16 and more"
        assert await rig.send(alert) == 202
        (tmp_path / "secret").write_text(new)
        assert await rig.send(alert, secret=new) == 202
        assert await rig.send(alert) == 401
        (tmp_path / "secret").write_text(SECRET)
        rig.clock.forward(1)
        assert await rig.send(alert, secret=new) == 401
        assert await rig.send(alert) == 202


SIGNED = SOURCES.replace("    project:", "    signature_header: X-Signature\n    project:")


@pytest.mark.parametrize(
    ("sources", "header"), [(SOURCES, b"Authorization: Bearer "), (SIGNED, b"X-Signature: ")]
)
async def test_a_secret_of_bytes_that_are_no_text_is_a_wrong_one(
    tmp_path: Path, sources: str, header: bytes
) -> None:
    async with standalone(tmp_path, sources=sources) as rig:
        assert rig.service.standalone
        port = rig.service.standalone.listener.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /intake/shop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n")
        writer.write(header + b"\xff\r\n\r\n{}")
        status = await reader.readline()
        writer.close()
    assert b" 401 " in status


async def test_an_alert_that_nobody_told_is_found_by_asking(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.fire("f1")
        await rig.until_acts(1)
        assert Switch.applied == ["one"]


async def test_a_rejected_file_leaves_the_last_one_in_force_and_is_told(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        file = tmp_path / "sources.yaml"
        good = file.read_text()
        file.write_text(good.replace("kind: alertmanager", "kind: pager"))

        async def is_told() -> bool:
            rig.clock.forward(5)
            await asyncio.sleep(0.01)
            told = await rig.service.readiness.look()
            return any("the sources were rejected" in each for each in told.degraded)

        await until(is_told)
        assert await rig.send(rig.world.fire("f1")) == 202
        file.write_text(good.replace("shop:", "market:"))
        await rig.until_holds(lambda: is_renamed(rig))
        assert await rig.send(rig.world.fire("f2"), source="market") == 202


def is_renamed(rig: Rig) -> bool:
    assert rig.service.standalone
    return "market" in rig.service.standalone.configuration.sources
