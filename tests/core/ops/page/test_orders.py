"""Orders on the page: bound to what was seen, harmless when sent twice, told by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from keptn_remedy import Change, Context, Plan
from keptn_remedy.ops.guesses import MOST
from keptn_remedy.ops.operators import Role
from keptn_remedy.support import page_paths
from tests.core.ops.page.surfing import ASK, House, Person, house
from tests.log_lines import captured_logs
from tests.providing import Dial
from tests.waiting import until


async def asked(home: House, value: int = 5) -> str:
    event_id = await home.send("dial", value)
    await home.asks(event_id)
    return event_id


async def decide(person: Person, event_id: str, what: str = "approve", **form: str) -> Any:
    page = await person.get(f"/executions/{event_id}")
    given = {"form_token": page.form_token, "digest": page.digest, "reason": "seen", **form}
    return await person.post(f"/executions/{event_id}/{what}", **given)


async def test_an_approver_approves_the_plan_that_was_shown(tmp_path: Path) -> None:
    with captured_logs() as log:
        async with house(tmp_path, policy=ASK) as home:
            event_id = await asked(home)
            ben = await home.visitor("approver")
            inbox = (await ben.get("/inbox")).text
            assert "dial" in inbox
            assert "Approve this plan" in inbox
            seen = await decide(ben, event_id)
            assert seen.headers["Location"] == f"/executions/{event_id}?told=approve"
            await home.has_ended(event_id)
            assert Dial.state == {"dial": 5}
            shown = (await ben.get(f"/executions/{event_id}?told=approve")).text
            assert "Approved by ben" in shown
            assert "You approved it" in shown
            (line,) = log.saying("operator order")
            assert (line["by"], line["order"], line["reason"]) == ("ben", "approve", "seen")


async def test_an_execution_has_an_address_that_browsers_leave_alone(tmp_path: Path) -> None:
    async with house(tmp_path, policy=ASK) as home:
        event_id = await home.send("dial", 5, id="..")
        await home.asks(event_id)
        ben = await home.visitor("approver")
        inbox = (await ben.get("/inbox")).text
        assert 'href="/executions/~.."' in inbox
        page = await ben.get("/executions/~..")
        given = {"form_token": page.form_token, "digest": page.digest, "reason": "seen"}
        seen = await ben.post("/executions/~../approve", **given)
        assert seen.headers["Location"] == "/executions/~..?told=approve"
        await home.has_ended(event_id)


@pytest.mark.parametrize("event_id", [".", "..", "~", "~..", "a/b", "../../etc", "%2e", "x"])
def test_an_id_is_found_again_in_its_address(event_id: str) -> None:
    path = page_paths.path_of(event_id)
    assert str(URL(path)) == path
    assert page_paths.id_in(path) == event_id


async def test_an_approval_is_refused_when_the_plan_has_changed(tmp_path: Path) -> None:
    async with house(tmp_path, policy=ASK) as home:
        event_id = await asked(home)
        ben = await home.visitor("approver")
        before = await ben.get(f"/executions/{event_id}")
        record = await home.service.journal.record(event_id)
        assert record
        assert record.question
        (open_one,) = await home.service.journal.questions(1)
        plan = Plan((Change("dial", "number", 0, 99),))
        await home.service.journal.ask(open_one, replace(record.question, plan=plan))
        form = {"form_token": before.form_token, "digest": before.digest}
        seen = await ben.post(f"/executions/{event_id}/approve", **form)
        assert seen.status == 409
        assert "the plan has changed" in seen.text
        assert ">99<" in seen.text
        again = await home.service.journal.record(event_id)
        assert again
        assert again.question
        assert again.question.verdict is None
        assert seen.digest != before.digest


async def test_approving_twice_is_approving_once(tmp_path: Path) -> None:
    async with house(tmp_path, policy=ASK) as home:
        event_id = await asked(home)
        ben, cleo = await home.visitor("approver"), await home.visitor("operator")
        page = await ben.get(f"/executions/{event_id}")
        form = {"form_token": page.form_token, "digest": page.digest}
        answers = [
            await ben.post(f"/executions/{event_id}/approve", **form),
            await ben.post(f"/executions/{event_id}/approve", **form),
        ]
        await home.has_ended(event_id)
        answers.append(await ben.post(f"/executions/{event_id}/approve", **form))
        own = {"form_token": await cleo.form_token(), "digest": page.digest}
        answers.append(await cleo.post(f"/executions/{event_id}/approve", **own))
        assert [it.status for it in answers] == [303] * 4
        assert Dial.log.count("apply") == 1
        late = await cleo.post(f"/executions/{event_id}/deny", **own)
        assert (late.status, "it was approved by ben before" in late.text) == (409, True)


async def test_a_denial_ends_it_and_says_who(tmp_path: Path) -> None:
    async with house(tmp_path, policy=ASK) as home:
        event_id = await asked(home)
        ben = await home.visitor("approver")
        assert (await decide(ben, event_id, "deny", reason="not now")).status == 303
        await home.has_ended(event_id)
        shown = (await ben.get(f"/executions/{event_id}")).text
        assert "Why it did not act" in shown
        assert "denied by ben: not now" in shown
        assert Dial.state == {}


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_link_to_an_order_for_all_leads_to_the_screen_now(
    tmp_path: Path, what: str
) -> None:
    async with house(tmp_path) as home:  # so does signing in again after a form came too late
        seen = await (await home.visitor("operator")).get(f"/{what}")
        assert (seen.status, seen.headers["Location"]) == (303, "/")
        assert home.service.pauses.current is None


async def test_strangers_do_not_flood_the_log(tmp_path: Path) -> None:
    with captured_logs() as log:
        async with house(tmp_path, page_public=True) as home:
            for number in range(MOST + 3):
                seen = await home.somebody().post("/pause", reason=f"no {number}", form_token="")
                assert seen.status == 403
            assert len(log.saying("operator refused")) == MOST


@pytest.mark.parametrize("what", ["approve", "deny", "undo"])
async def test_a_link_orders_nothing(tmp_path: Path, what: str) -> None:
    async with house(tmp_path, policy=ASK) as home:
        event_id = await asked(home)
        cleo = await home.visitor("operator")
        seen = await cleo.get(f"/executions/{event_id}/{what}")
        assert (seen.status, seen.headers["Location"]) == (303, f"/executions/{event_id}")
        record = await home.service.journal.record(event_id)
        assert record
        assert record.question
        assert (record.question.verdict, record.undo) == (None, None)


async def test_an_operator_undoes_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        event_id = await home.send("dial", 5)
        await home.has_ended(event_id)
        cleo = await home.visitor("operator")
        page = await cleo.get(f"/executions/{event_id}")
        assert "Undo now" in page.text
        for _ in range(2):
            form = {"form_token": page.form_token, "reason": "it got worse"}
            seen = await cleo.post(f"/executions/{event_id}/undo", **form)
            assert seen.status == 303

        async def is_undone() -> bool:
            record = await home.service.journal.record(event_id)
            return bool(record and record.undo and record.undo.ended_at)

        await until(is_undone)
        assert Dial.log.count("undo") == 1
        shown = (await cleo.get(f"/executions/{event_id}")).text
        assert "Undo done" in shown
        assert "it got worse" in shown
        assert "Undo now" not in shown


async def test_the_brake_is_on_every_screen_with_its_reason_and_who(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        event_id = await home.send("greet")
        await home.has_ended(event_id)
        cleo, anna = await home.visitor("operator"), await home.visitor("viewer")
        token = await cleo.form_token()
        seen = await cleo.post(
            "/pause", reason="the network is down", form_token=token, next="/rails"
        )
        assert (seen.status, seen.headers["Location"]) == (303, "/rails")
        assert home.service.pauses.current
        paused_at = home.service.pauses.current.since
        await cleo.post("/pause", reason="the network is down", form_token=token)
        assert home.service.pauses.current.since == paused_at
        for path in ("/", "/inbox", "/executions", "/rails", "/actions", f"/executions/{event_id}"):
            text = (await anna.get(path)).text
            assert "the network is down" in text, path
            assert "<b>cleo</b>" in text, path
            assert "Resume</button>" not in text
        assert "Resume</button>" in (await cleo.get("/")).text
        assert (await cleo.post("/resume", form_token=token)).status == 303
        assert (await cleo.post("/resume", form_token=token)).status == 303
        assert home.service.pauses.current is None


async def test_a_pause_needs_a_reason(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        cleo = await home.visitor("operator")
        seen = await cleo.post("/pause", reason=" \n", form_token=await cleo.form_token())
        assert (seen.status, home.service.pauses.current) == (400, None)


@pytest.mark.parametrize(
    ("role", "what", "status"),
    [
        ("viewer", "approve", 403),
        ("viewer", "deny", 403),
        ("viewer", "undo", 403),
        ("approver", "undo", 403),
        ("approver", "pause", 403),
        ("approver", "resume", 403),
        ("approver", "approve", 303),
        ("operator", "approve", 303),
    ],
)
async def test_a_role_may_do_so_much(tmp_path: Path, role: Role, what: str, status: int) -> None:
    with captured_logs() as log:
        async with house(tmp_path, policy=ASK) as home:
            event_id = await asked(home)
            person, ben = await home.visitor(role), await home.visitor("approver")
            digest = (await ben.get(f"/executions/{event_id}")).digest
            whole = what in ("pause", "resume")
            path = f"/{what}" if whole else f"/executions/{event_id}/{what}"
            # A viewer's page has a form to sign out, with the token of the session.
            form = {"form_token": await person.form_token(), "digest": digest, "reason": "why"}
            assert (await person.post(path, **form)).status == status
            if status == 403:
                (line,) = log.saying("operator refused")
                assert (line["order"], line["by"]) == (what, {"viewer": "anna"}.get(role, "ben"))


async def test_a_plan_of_an_author_is_compared_whole(tmp_path: Path) -> None:
    class Noted(Dial):
        name = "noted"

        async def plan(self, context: Context, value: int) -> Plan:
            return Plan((Change("dial", "number", 0, value),), ("a note",))

    policy = ASK.replace("dial", "noted")
    async with house(tmp_path, policy=policy, actions=(Noted,)) as home:
        event_id = await home.send("noted", 3)
        await home.asks(event_id)
        ben = await home.visitor("approver")
        assert "a note" in (await ben.get("/inbox")).text
        assert (await decide(ben, event_id)).status == 303
        await home.has_ended(event_id)


async def test_the_brake_keeps_who_paused_and_who_resumed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        cleo = await home.visitor("operator")
        token = await cleo.form_token()

        async def is_shown(*words: str) -> bool:
            text = (await cleo.get("/rails")).text
            return all(it in text for it in words)

        await cleo.post("/pause", reason="the network is down", form_token=token)
        await until(lambda: is_shown("Paused by cleo", "the network is down"))
        await cleo.post("/resume", form_token=token)
        await until(lambda: is_shown("Ended by cleo"))
        await home.service.pauses.pause("ada", "again")
        await until(lambda: is_shown("Paused by ada"))
        text = (await cleo.get("/rails")).text
        assert text.index("Paused by ada") < text.index("Ended by cleo")
        assert text.count("Paused by cleo") == 1
