"""Open pages follow the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from keptn_remedy.http_server import Limits
from keptn_remedy.ops.page.live import MOST_STREAMS, PAUSE_TIMES, Topic
from tests.core.ops.page.surfing import House, Person, house
from tests.log_lines import captured_logs
from tests.providing import ops_url
from tests.waiting import until


@asynccontextmanager
async def opened(person: Person, at: str) -> AsyncIterator[Any]:
    async with person.session.get(
        ops_url(person.service, "/live"), params={"at": at}, headers=person._given({})
    ) as answer:
        assert answer.status == 200
        yield answer


async def content(answer: Any) -> str:
    """The next content that is sent."""
    async with asyncio.timeout(20):
        while not (line := await answer.content.readline()).startswith(b"data: "):
            assert line
        return str(orjson.loads(line.removeprefix(b"data: ")))


def live_of(home: House) -> Any:
    return home.service.ops._page._live  # type: ignore[union-attr]


async def test_a_page_is_sent_what_changed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        async with opened(anna, "/executions?action=greet") as stream:
            assert "No execution matches" in await content(stream)
            await home.send("greet", {"name": "moon"})
            assert "hello moon" in await content(stream)


async def test_forms_that_are_sent_later_carry_the_token_of_their_own_session(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as home:
        one, two = await home.visitor("operator"), await home.visitor("operator")
        async with opened(one, "/") as first, opened(two, "/") as second:
            assert f'value="{await one.form_token()}"' in await content(first)
            assert f'value="{await two.form_token()}"' in await content(second)
        async with opened(await home.visitor("viewer"), "/") as stream:
            assert "form_token" not in await content(stream)


async def test_a_screen_is_made_once_for_all_who_look(tmp_path: Path) -> None:
    async with house(tmp_path, page_public=True) as home:
        live = live_of(home)
        made: list[str] = []
        make = live._screens.part

        async def counted(address: Any, visitor: Any) -> Any:
            made.append(str(address))
            return await make(address, visitor)

        live._screens.part = counted
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            streams = [await enter(opened(home.somebody(), "/inbox")) for _ in range(20)]
            await asyncio.gather(*(content(it) for it in streams))
            assert len(made) <= 3
        await until(lambda: live._task is None)
        assert not live._streams
        assert not live._sent


async def test_whoever_may_not_look_any_more_is_sent_nothing_any_more(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("keptn_remedy.ops.page.live.ANEW_SECONDS", 0.05)
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        async with opened(anna, "/actions") as stream:
            home.file.write_text("operators: []")
            home.service.ops._page._page.gate._operators._read_at = -1e9  # type: ignore[union-attr]
            async with asyncio.timeout(20):
                while await stream.content.readline():
                    pass


async def test_whoever_may_not_look_any_more_is_not_sent_the_news(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anna = await home.visitor("viewer")
        async with opened(anna, "/executions?action=greet") as stream:
            await content(stream)
            home.file.write_text("operators: []")
            home.service.ops._page._page.gate._operators._read_at = -1e9  # type: ignore[union-attr]
            await home.send("greet", {"name": "moon"})
            async with asyncio.timeout(20):
                assert b"moon" not in await stream.content.read()


async def test_nothing_is_kept_of_a_screen_that_all_have_left(tmp_path: Path) -> None:
    async with house(tmp_path, page_public=True) as home:
        live = live_of(home)
        await live._make(Topic("/actions", "viewer", is_signed_in=False))
        assert not live._sent


async def test_there_is_an_end_to_how_many_may_look(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("keptn_remedy.ops.page.live.MOST_STREAMS", 2)
    async with (
        house(tmp_path, page_public=True) as home,
        opened(home.somebody(), "/"),
        opened(home.somebody(), "/"),
    ):
        assert (await home.somebody().get("/live?at=/")).status == 503
    assert MOST_STREAMS < 64
    assert PAUSE_TIMES >= 20


async def test_a_provider_leaves_while_pages_are_open_without_a_word(tmp_path: Path) -> None:
    leave = AsyncExitStack()
    with captured_logs() as log:
        # Whoever looks closes the page only after the provider has left.
        async with leave, house(tmp_path, page_public=True) as home:
            await content(await leave.enter_async_context(opened(home.somebody(), "/")))
        assert log.at("ERROR", "CRITICAL") == []


async def test_a_page_that_was_closed_just_before_the_provider_leaves_is_no_error(
    tmp_path: Path,
) -> None:
    with captured_logs() as log:
        async with house(tmp_path, page_public=True) as home:
            live = live_of(home)
            live._look_seconds = 0.01
            async with opened(home.somebody(), "/") as stream:
                await content(stream)
            # A browser that went away is noticed by the next sign of life only.
            following = live._task
            assert live._streams
        assert following
        assert following.done()
        await until(lambda: not live._streams)
        assert log.at("ERROR", "CRITICAL") == []


async def test_a_stream_outlives_the_time_that_an_answer_may_take(tmp_path: Path) -> None:
    async with house(tmp_path, page_public=True) as home:
        listener_limits = Limits(connections=64)
        async with opened(home.somebody(), "/inbox") as stream:
            await content(stream)
            (connection,) = [it for it in stream_connections(home) if it._current_request]
            for _ in range(10):
                connection.look(listener_limits.answer_seconds)
            await home.service.pauses.pause("somebody", "a reason")
            assert "a reason" in await content(stream)


def stream_connections(home: House) -> list[Any]:
    import gc

    from keptn_remedy.http_server.connection import Connection

    mine = home.service.ops.port
    found = [it for it in gc.get_objects() if isinstance(it, Connection)]
    return [
        it
        for it in found
        if it.transport is not None and it.transport.get_extra_info("sockname")[1] == mine
    ]
