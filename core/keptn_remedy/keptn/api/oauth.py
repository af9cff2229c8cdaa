"""A login with OAuth client credentials (RFC 6749 §4.4), where Keptn's API asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus

from aiohttp import encode_basic_auth
from pydantic import BaseModel, Field, HttpUrl, ValidationError
from yarl import URL

from keptn_remedy.keptn.api.connections import Connections, Reply
from keptn_remedy.keptn.api.credentials import NoCredentials, Secret
from keptn_remedy.support.clock import Clock

# A token is replaced so long before it expires, or in the second half of a shorter life.
EARLY_SECONDS = 30.0
AGAIN_SECONDS = 1.0
# A login that takes longer has failed; and how long those wait for it whose token still serves.
LOGIN_SECONDS, SERVED_SECONDS = 10.0, 1.0
# A younger token has all the rights that the provider gives.
NEW_SECONDS = 60.0
MOST_DESCRIPTION = 200
_JSON = {"Accept": "application/json"}


class _Discovery(BaseModel):
    """OpenID Connect Discovery, or RFC 8414: the part that we read."""

    token_endpoint: HttpUrl


class _Token(BaseModel):
    """A response of the token endpoint (RFC 6749 §5.1)."""

    access_token: str = Field(min_length=1)
    expires_in: float | None = None


class _Error(BaseModel):
    """An error of the token endpoint (RFC 6749 §5.2)."""

    error: str
    error_description: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """Who logs in, and where: at `token_url`, or at the endpoint that `discovery_url` names."""

    id: str
    secret: Secret
    scopes: tuple[str, ...] = ()
    token_url: str | None = None
    discovery_url: str | None = None


class ClientCredentials:
    """Gets an access token, keeps it until shortly before it expires, and gets the next. `hide`
    gets each.
    """

    def __init__(
        self,
        client: Client,
        connections: Connections,
        clock: Clock,
        hide: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._connections = connections
        self._clock = clock
        self._hide = hide
        self._token: str | None = None
        # When to get the next one, and when this one expires (monotonic, in seconds).
        self._next_at = self._expires_at = float("inf")
        self._since = 0.0
        self._endpoint = URL(client.token_url) if client.token_url else None
        self._is_basic = True
        self._login: asyncio.Task[str] | None = None
        # Why the last login failed, and how long that counts for all who ask.
        self._failure, self._again_at = "", 0.0

    async def access_token(self) -> str:
        """A token that serves now. All who ask together wait for one login; where the last token
        still serves, for no longer than `SERVED_SECONDS`.

        Raises:
            NoCredentials: the login failed, or took over `LOGIN_SECONDS`.
        """
        now, token = self._clock.monotonic(), self._token
        if token is not None and now >= self._expires_at:
            token = None
        if now < self._next_at and token is not None:
            return token
        if now < self._again_at and token is None:
            raise NoCredentials(self._failure)
        is_first = self._login is None
        if self._login is None:
            self._login = asyncio.create_task(self._log_in())
            self._login.add_done_callback(_forget_error)
        under_way = self._login
        if token is None:
            return await asyncio.shield(under_way)
        if is_first:
            await asyncio.wait((under_way,), timeout=SERVED_SECONDS)
        return self._token or token

    async def renew(self, *, is_known: bool = False) -> None:
        now = self._clock.monotonic()
        if not is_known:
            self._token = None
            await self._client.secret.renew()
        elif now - self._since >= NEW_SECONDS:
            self._next_at = now

    async def close(self) -> None:
        if self._login:
            self._login.cancel()
            await asyncio.wait((self._login,))
        await self._connections.close()

    async def _log_in(self) -> str:
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                return self._kept(await self._ask())
        except (NoCredentials, TimeoutError) as error:
            self._next_at = self._again_at = self._clock.monotonic() + AGAIN_SECONDS
            where = _shown(self._endpoint or URL(self._client.discovery_url or ""))
            silence = f"wants a login, and {where} didn't answer within {LOGIN_SECONDS:g} s"
            self._failure = str(error) if isinstance(error, NoCredentials) else silence
            raise NoCredentials(self._failure) from None
        finally:
            self._login = None

    async def _ask(self) -> _Token:
        endpoint = await self._token_endpoint()
        reply = await self._post(endpoint)
        if _is_unknown_client(reply):
            # Some know the secret in the body alone, or one that has been replaced meanwhile.
            await self._client.secret.renew()
            self._is_basic = not self._is_basic
            reply = await self._post(endpoint)
        if reply.status != 200:
            if not self._client.token_url:
                self._endpoint = None  # it may have moved
            raise NoCredentials(_failure(endpoint, reply))
        try:
            return _Token.model_validate_json(reply.body)
        except ValidationError:
            raise NoCredentials(_failure(endpoint, reply, "without a token")) from None

    def _kept(self, token: _Token) -> str:
        self._token = token.access_token
        self._hide(token.access_token)
        now, life = self._clock.monotonic(), token.expires_in
        self._since = now
        if life is None or life <= 0:  # it serves until it is refused
            self._next_at = self._expires_at = float("inf")
        else:
            self._expires_at = now + life
            self._next_at = self._expires_at - min(EARLY_SECONDS, life / 2)
        return token.access_token

    async def _token_endpoint(self) -> URL:
        if self._endpoint is not None:
            return self._endpoint
        where = URL(self._client.discovery_url or "")
        reply = await self._connections.request("GET", where, headers=_JSON)
        if reply.status != 200:
            raise NoCredentials(_failure(where, reply))
        try:
            found = URL(str(_Discovery.model_validate_json(reply.body).token_endpoint))
        except ValidationError:
            raise NoCredentials(_failure(where, reply, "without a token_endpoint")) from None
        if where.scheme == "https" and found.scheme != "https":
            raise NoCredentials(_failure(where, reply, "with a token_endpoint without TLS"))
        self._endpoint = found
        return found

    async def _post(self, endpoint: URL) -> Reply:
        secret, id_ = self._client.secret.value, self._client.id
        form: dict[str, str] = {"grant_type": "client_credentials"}
        if self._client.scopes:
            form["scope"] = " ".join(self._client.scopes)
        headers = _JSON
        if self._is_basic:  # both are form-encoded first (RFC 6749 §2.3.1)
            basic = encode_basic_auth(quote_plus(id_), quote_plus(secret))
            self._client.secret.hide(basic.removeprefix("Basic "))
            headers = {**_JSON, "Authorization": basic}
        else:
            form |= {"client_id": id_, "client_secret": secret}
        return await self._connections.request("POST", endpoint, headers=headers, data=form)


def _is_unknown_client(reply: Reply) -> bool:
    error = _error(reply)
    return reply.status == 401 or (error is not None and error.error == "invalid_client")


def _error(reply: Reply) -> _Error | None:
    try:
        return _Error.model_validate_json(reply.body)
    except ValidationError:
        return None


def _failure(where: URL, reply: Reply, lacking: str = "") -> str:
    """What the login failed of, as the end of a sentence about Keptn's API."""
    error = _error(reply)
    said = f": {error.error} {error.error_description}"[:MOST_DESCRIPTION].strip() if error else ""
    return (
        f"wants a login, and {_shown(where)} {reply.reason}{f' {lacking}' if lacking else ''}{said}"
    )


def _shown(where: URL) -> str:
    return str(where.with_user(None).with_query(None))


def _forget_error(task: asyncio.Task[str]) -> None:
    """Nobody may be left to hear it: the last token still served."""
    if not task.cancelled():
        task.exception()
