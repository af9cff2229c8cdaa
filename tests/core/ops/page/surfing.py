"""A provider with its page, and people who look at it without a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, DummyCookieJar

from keptn_remedy.ops import operators
from keptn_remedy.ops.operators import Operator, Role
from keptn_remedy.service import Service
from keptn_remedy.testing import triggered
from tests.providing import Dial, Greet, event_url, ops_url, provider
from tests.waiting import until

ASK = "version: 1\nrules:\n  - {name: a person looks first, match: {action: dial}, mode: approve}\n"


@dataclass(frozen=True)
class Seen:
    """What a browser was answered."""

    status: int
    headers: Any
    text: str
    cookies: dict[str, str]

    @property
    def form_token(self) -> str:
        return str(re.findall(r'name="form_token" value="(\w+)"', self.text)[0])

    @property
    def digest(self) -> str:
        return str(re.findall(r'name="digest" value="(\w+)"', self.text)[0])


@dataclass
class Person:
    """Somebody with a browser: it keeps cookies, and says where its forms come from."""

    service: Service
    session: ClientSession
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **headers: str) -> Seen:
        return await self._send("GET", path, headers=self._given(headers))

    async def post(self, path: str, *, headers: Any = None, **form: Any) -> Seen:
        given = {"Sec-Fetch-Site": "same-origin"} if headers is None else headers
        return await self._send("POST", path, data=form, headers=self._given(given))

    async def sign_in(self, token: str) -> Seen:
        seen = await self.post("/sign-in", token=token, next="/inbox")
        self.cookies |= seen.cookies
        return seen

    async def form_token(self) -> str:
        return (await self.get("/")).form_token

    def _given(self, headers: dict[str, str]) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**({"Cookie": cookie} if cookie else {}), **headers}

    async def _send(self, method: str, path: str, **more: Any) -> Seen:
        url = ops_url(self.service, path)
        async with self.session.request(method, url, allow_redirects=False, **more) as answer:
            cookies = {name: it.value for name, it in answer.cookies.items()}
            return Seen(answer.status, answer.headers, await answer.text(), cookies)


@dataclass
class House:
    """A provider, and the people who may sign in at it."""

    service: Service
    session: ClientSession
    tokens: dict[Role, str]
    file: Path

    def somebody(self) -> Person:
        return Person(self.service, self.session)

    async def visitor(self, role: Role) -> Person:
        person = self.somebody()
        assert (await person.sign_in(self.tokens[role])).status == 303
        return person

    async def send(self, action: str, value: Any = None, **fields: Any) -> str:
        event = triggered(action, value, **fields)
        async with self.session.post(event_url(self.service), json=event) as answer:
            assert answer.status == 202, await answer.text()
        return str(event["id"])

    async def asks(self, event_id: str) -> None:
        async def is_asking() -> bool:
            record = await self.service.journal.record(event_id)
            return bool(record and record.question and not record.question.verdict)

        await until(is_asking)

    async def has_ended(self, event_id: str) -> None:
        async def is_finished() -> bool:
            record = await self.service.journal.record(event_id)
            return bool(record and record.state == "finished")

        await until(is_finished)


@asynccontextmanager
async def house(
    folder: Path,
    *,
    policy: str | None = None,
    actions: Any = (Greet, Dial),
    journal: str | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A provider with one person of each role: anna views, ben approves, cleo operates. `journal`
    is the URL of one in a database.
    """
    place = journal or folder / "journal.db"
    tokens: dict[Role, str] = {}
    people: list[Operator] = []
    for name, role in zip(("anna", "ben", "cleo"), operators.ROLES, strict=True):
        tokens[role] = operators.new_token()
        digest = operators.hashed(tokens[role])
        people.append(Operator(name=name, role=role, token_sha256=digest))
    file = folder / "operators.yaml"
    operators.write(file, people)
    if policy:
        (folder / "policy.yaml").write_text(policy)
        settings["policy"] = folder / "policy.yaml"
    async with (
        provider(place, None, *actions, operators_file=file, **settings) as service,
        ClientSession(cookie_jar=DummyCookieJar()) as session,
    ):
        yield House(service, session, tokens, file)
