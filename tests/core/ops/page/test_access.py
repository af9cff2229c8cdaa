"""Who may look at the page, and what they may order there."""

from pathlib import Path

import pytest

from keptn_remedy.ops import operators
from keptn_remedy.ops.guesses import MOST
from keptn_remedy.ops.operators import Operator, Role
from keptn_remedy.ops.page.gate import FORM_TOKEN
from keptn_remedy.ops.page.sessions import COOKIE
from tests.core.ops.page.surfing import House, house
from tests.log_lines import captured_logs
from tests.providing import ops_url

SCREENS = ("/", "/inbox", "/executions", "/rails", "/actions")
TOKEN = "correct-horse-battery-staple"


async def test_nobody_looks_without_signing_in(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        event_id = await home.send("greet", {"name": "moon"})
        await home.has_ended(event_id)
        for path in (*SCREENS, f"/executions/{event_id}"):
            seen = await home.somebody().get(path)
            assert (seen.status, "moon" in seen.text, "/sign-in?next=" in seen.text) == (
                401,
                False,
                True,
            )
        assert (await home.somebody().get("/live?at=/")).status == 401


async def test_a_token_signs_in_and_the_cookie_is_kept_from_scripts_and_other_sites(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        anna = home.somebody()
        seen = await anna.sign_in(home.tokens["viewer"])
        assert (seen.status, seen.headers["Location"]) == (303, "/inbox")
        kept = seen.headers["Set-Cookie"]
        assert all(it in kept for it in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"))
        assert "Secure" not in kept
        assert home.tokens["viewer"] not in kept
        for path in SCREENS:
            shown = await anna.get(path)
            assert shown.status == 200, path
            assert "anna" in shown.text
        assert "Nothing has arrived yet." in (await anna.get("/executions")).text
        assert "No execution matches." in (await anna.get("/executions?service=carts")).text
        missing = await anna.get("/executions/nowhere")
        assert (missing.status, "anna" in missing.text, "Sign in" in missing.text) == (
            404,
            True,
            False,
        )


async def test_an_address_where_nothing_is_is_told_browsers_on_a_page_and_programs_as_json(
    tmp_path: Path,
) -> None:
    browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        for path, status in (("/nowhere", 404), ("/api/nowhere", 404), ("/sign-out", 405)):
            seen = await anna.get(path, Accept=browsers)
            assert (seen.status, seen.headers["Content-Type"]) == (
                status,
                "text/html; charset=utf-8",
            )
            assert "There is nothing at this address." in seen.text
            assert '<a class="button" href="/">' in seen.text
            assert "aria-current" not in seen.text  # no screen is marked as this one
            assert "anna" in seen.text
            for accept in ("*/*", "application/json", f"application/json, {browsers}"):
                answer = await anna.get(path, Accept=accept)
                assert answer.status == status
                assert answer.headers["Content-Type"] == "application/problem+json"


async def test_over_tls_the_cookie_is_for_tls_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        headers = {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}
        token = home.tokens["viewer"]
        seen = await home.somebody().post("/sign-in", headers=headers, token=token)
        assert "Secure" in seen.headers["Set-Cookie"]


async def test_everybody_may_look_where_the_operator_says_so_and_nobody_may_order(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, page_public=True) as home:
        guest = home.somebody()
        for path in SCREENS:
            assert (await guest.get(path)).status == 200
        assert "Pause everything" not in (await guest.get("/")).text
        seen = await guest.post("/pause", reason="no reason", form_token="")
        assert seen.status == 403
        assert home.service.pauses.current is None


async def test_a_link_from_another_site_is_opened_once_more_so_that_the_cookie_comes_along(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        from_chat = {"Sec-Fetch-Site": "cross-site"}
        seen = await home.somebody().get("/inbox?x=1", **from_chat)
        assert 'content="0; url=/sign-in?next=%2Finbox%3Fx%3D1"' in seen.text
        ben = await home.visitor("approver")
        again = await ben.get("/sign-in?next=%2Finbox%3Fx%3D1")
        assert (again.status, again.headers["Location"]) == (303, "/inbox?x=1")


async def test_a_link_from_another_site_asks_nobody_to_sign_in_where_everybody_may_look(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, page_public=True) as home:
        seen = await home.somebody().get("/inbox?x=1", **{"Sec-Fetch-Site": "cross-site"})
        assert (seen.status, 'content="0; url=/inbox?x=1"' in seen.text) == (200, True)


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil", "/a\nb", ""])
async def test_signing_in_leads_nowhere_else(tmp_path: Path, to: str) -> None:
    async with house(tmp_path) as home:
        token = home.tokens["viewer"]
        seen = await home.somebody().post("/sign-in", token=token, next=to)
        assert seen.headers["Location"] == "/"


async def test_whoever_guesses_waits_even_with_the_right_token(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guesser = home.somebody()
        for number in range(MOST):
            assert (await guesser.sign_in(f"wrong {number}")).status == 401
        seen = await guesser.sign_in(home.tokens["operator"])
        assert (seen.status, COOKIE in seen.cookies) == (429, False)
        assert int(seen.headers["Retry-After"]) > 0
        refused = home.service.ops._metrics.registry.get_sample_value
        assert refused("remedy_operator_tokens_refused_total", {"answer": "wrong"}) == MOST


@pytest.mark.parametrize("spoil", ["name", "signature", "payload", "nothing at all"])
async def test_a_cookie_that_was_changed_is_none(tmp_path: Path, spoil: str) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        cookie = anna.cookies[COOKIE]
        payload, _, signature = cookie.partition(".")
        other = (await home.visitor("operator")).cookies[COOKIE].partition(".")
        anna.cookies[COOKIE] = {
            "name": f"{other[0]}.{signature}",
            "signature": f"{payload}.{'0' * len(signature)}",
            "payload": f"{payload}x.{signature}",
            "nothing at all": "",
        }[spoil]
        assert (await anna.get("/")).status == 401


def change(home: House, whose: Role, **others: str) -> None:
    known = operators.read(home.file)
    kept = [it for it in known if it.role != whose]
    (person,) = (it for it in known if it.role == whose)
    operators.write(home.file, [*kept, Operator(**{**person.model_dump(), **others})])


async def until_read(home: House) -> None:
    """The file counts from its next reading on."""
    gate = home.service.ops._page._page.gate  # type: ignore[union-attr]
    assert gate._operators
    gate._operators._read_at = -1e9


async def test_who_is_removed_or_has_a_new_token_or_role_is_signed_out(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        cleo, ben, anna = [await home.visitor(role) for role in reversed(operators.ROLES)]
        operators.write(home.file, [it for it in operators.read(home.file) if it.name != "anna"])
        change(home, "operator", token_sha256=operators.hashed("another"))
        change(home, "approver", role="viewer")
        await until_read(home)
        assert [(await it.get("/")).status for it in (cleo, ben, anna)] == [401, 401, 401]


async def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        cleo = await home.visitor("operator")
        people = home.file.read_text()
    async with house(tmp_path) as home:
        home.file.write_text(people)
        await until_read(home)
        again = home.somebody()
        again.cookies = cleo.cookies
        assert (await again.get("/")).status == 200


async def test_an_operators_file_that_breaks_lets_nobody_in(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        home.file.write_text("operators: [{name: anna}]")
        await until_read(home)
        assert (await anna.get("/")).status == 401
        assert (await home.somebody().sign_in(home.tokens["viewer"])).status == 503


async def test_the_operator_token_of_the_api_signs_in_as_an_operator(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with house(tmp_path, operator_token_file=tmp_path / "token") as home:
        person = home.somebody()
        assert (await person.sign_in(TOKEN)).status == 303
        assert "Pause everything" in (await person.get("/")).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
async def test_a_form_of_another_site_orders_nothing(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with house(tmp_path) as home:
        cleo = await home.visitor("operator")
        token = await cleo.form_token()
        seen = await cleo.post("/pause", headers=headers, reason="gone", form_token=token)
        assert seen.status == 403
        signed_in = await cleo.post("/sign-in", headers=headers, token=home.tokens["viewer"])
        assert signed_in.status == 403
        assert home.service.pauses.current is None


@pytest.mark.parametrize("given", ["", "0" * 64, "é", "that of another session"])
async def test_a_form_without_the_token_of_its_session_orders_nothing(
    tmp_path: Path, given: str
) -> None:
    async with house(tmp_path) as home:
        cleo = await home.visitor("operator")
        if given.startswith("that"):
            given = await (await home.visitor("operator")).form_token()
        seen = await cleo.post("/pause", reason="gone", **{FORM_TOKEN: given})
        assert (seen.status, home.service.pauses.current) == (403, None)
        out = await cleo.post("/sign-out", **{FORM_TOKEN: given})
        assert out.status == 403


async def test_signing_out_drops_the_cookie(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        seen = await anna.post("/sign-out", form_token=await anna.form_token())
        assert (seen.status, "Max-Age=0" in seen.headers["Set-Cookie"]) == (303, True)


async def test_signing_in_is_logged_without_the_token(tmp_path: Path) -> None:
    with captured_logs() as log:
        async with house(tmp_path) as home:
            await home.visitor("approver")
            await home.somebody().sign_in("a wrong one")
            assert [line["by"] for line in log.saying("signed in")] == ["ben"]
            assert len(log.saying("sign-in refused")) == 1
            assert home.tokens["approver"].encode() not in log.raw
            assert b"a wrong one" not in log.raw


async def test_an_address_with_many_fields_is_shown(tmp_path: Path) -> None:
    async with house(tmp_path, page_public=True) as home:
        many = "/executions?" + "&".join(f"a{number}=1" for number in range(50))
        assert (await home.somebody().get(many)).status == 200
        async with home.session.get(ops_url(home.service, "/live"), params={"at": many}) as answer:
            assert answer.status == 200


async def test_every_answer_forbids_foreign_content(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        for path in (*SCREENS, "/sign-in", "/executions/nope"):
            headers = (await anna.get(path)).headers
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
