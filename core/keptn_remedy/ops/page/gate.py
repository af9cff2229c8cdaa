"""Who looks at the page, and what they may order: sign-in, sessions, forms that no other site can
send.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.guesses import Guesses, RateLimit
from keptn_remedy.ops.operator_token import OperatorToken, are_same
from keptn_remedy.ops.operators import Operator, Operators, Role, hashed
from keptn_remedy.ops.page.sessions import COOKIE, SECONDS, Sessions, claimed
from keptn_remedy.support import logs
from keptn_remedy.support.link_templates import host
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.variables import SettingsError

FORM_TOKEN = "form_token"  # noqa: S105  the name of a field
OF_THE_FILE = "operator-token"
"""The name of whoever signs in with the token of the API."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who looks at the page. `operator` is None where anybody may look."""

    operator: Operator | None = None
    form_token: str = ""

    @property
    def name(self) -> str:
        return self.operator.name if self.operator else ""

    @property
    def role(self) -> Role:
        return self.operator.role if self.operator else "viewer"

    def may(self, role: Role) -> bool:
        return self.operator is not None and self.operator.may(role)


class Gate:
    """Knows visitors. `is_public`: anybody may look."""

    def __init__(
        self,
        operators: Operators | None,
        token: OperatorToken | None,
        sessions: Sessions,
        metrics: Metrics,
        *,
        is_public: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_public = is_public
        self._operators = operators
        self._token = token
        self._sessions = sessions
        self._metrics = metrics
        self._guesses = Guesses(monotonic)
        self._lines = RateLimit(monotonic)
        for answer in ("wrong", "limited"):
            metrics.refused_tokens(answer)

    @property
    def takes_tokens(self) -> bool:
        """Whether anybody can sign in."""
        return bool(self._operators or self._token)

    async def visitor(self, request: web.Request) -> Visitor | None:
        """Who sent it; None: nobody who may look.

        Raises:
            JournalError: the key of the sessions can't be read.
        """
        return await self._signed_in(request) or (Visitor() if self.is_public else None)

    async def _signed_in(self, request: web.Request) -> Visitor | None:
        cookie = request.cookies.get(COOKIE, "")
        claim = claimed(cookie) if cookie else None
        operator = await self._named(claim.name) if claim else None
        if claim and operator and await self._sessions.is_good(claim, operator):
            return Visitor(operator, await self._sessions.form_token(cookie))
        return None

    async def sign_in(self, request: web.Request, token: str) -> tuple[Operator, str]:
        """Whose token it is, and the cookie of a new session.

        Raises:
            HttpError: it is nobody's, there were too many guesses, or nobody can tell.
            JournalError: the session can't be made.
        """
        require_same_site(request)
        guesses = self._guesses.of(request.remote or "")
        self._refuse_guessing(guesses)
        operator = await self._with_token(token)
        self._refuse_guessing(guesses)  # again: others may have guessed meanwhile
        if operator is None:
            guesses.note()
            self._metrics.refused_tokens("wrong").inc()
            self._log(request, "wrong token")
            raise HttpError(
                401, "This token is not known. Ask whoever runs the provider for yours."
            )
        logs.logger().info("signed in", by=operator.name, role=operator.role, peer=request.remote)
        return operator, await self._sessions.begin(operator)

    def _refuse_guessing(self, guesses: RateLimit) -> None:
        if seconds := guesses.pause_seconds():
            self._metrics.refused_tokens("limited").inc()
            wait = math.ceil(seconds)
            raise HttpError(
                429,
                f"Too many wrong tokens from your address. Try again in {wait} s.",
                {"Retry-After": str(wait)},
            )

    async def _with_token(self, token: str) -> Operator | None:
        token = token.strip()
        try:
            if self._operators and (found := await self._operators.with_token(token)):
                return found
            if self._token and are_same(token, current := await self._token.read()):
                return _of_the_file(current)
        except SettingsError as error:
            self._complain(error)
            raise HttpError(503, "The provider can't read its list of operators now.") from None
        return None

    async def _named(self, name: str) -> Operator | None:
        try:
            if name == OF_THE_FILE and self._token:
                return _of_the_file(await self._token.read())
            return await self._operators.named(name) if self._operators else None
        except SettingsError as error:  # nobody is known then
            self._complain(error)
            return None

    def _log(self, request: web.Request, why: str) -> None:
        if not self._lines.pause_seconds():
            self._lines.note()
            logs.logger().warning("sign-in refused", peer=request.remote, reason=why)

    def _complain(self, error: SettingsError) -> None:
        if not self._lines.pause_seconds():
            self._lines.note()
            logs.logger().error("operators can't be read", reason=str(error))


def require_form(request: web.Request, visitor: Visitor, given: str) -> None:
    """See that a form came from our own page, in the session of this visitor.

    Raises:
        HttpError: it did not.
    """
    require_same_site(request)
    if not (visitor.form_token and are_same(given, visitor.form_token)):
        raise HttpError(403, "This form is from another session. Open the page again, then repeat.")


def require_same_site(request: web.Request) -> None:
    """See that no other site sent it: browsers say where a form comes from.

    Raises:
        HttpError: another one did.
    """
    fetched = request.headers.get("Sec-Fetch-Site")
    if fetched in ("same-origin", "none"):
        return
    origin = request.headers.get("Origin")
    is_ours = origin is None or host(origin) == request.headers.get("Host")
    if fetched is not None or not is_ours:
        raise HttpError(403, "Another site sent this form. Nothing was done.")


def keep(answer: web.StreamResponse, request: web.Request, cookie: str) -> None:
    """Have the browser keep the cookie; over TLS, only for TLS."""
    is_tls = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto", "").lower())
    answer.set_cookie(
        COOKIE, cookie, max_age=SECONDS, path="/", httponly=True, samesite="Strict", secure=is_tls
    )


def forget(answer: web.StreamResponse) -> None:
    """Have the browser drop the cookie."""
    answer.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")


def _of_the_file(token: str) -> Operator:
    return Operator(name=OF_THE_FILE, role="operator", token_sha256=hashed(token))
