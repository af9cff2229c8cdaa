"""Sends the requests of a channel, and says what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from keptn_remedy.http_client import in_words, is_temporary, retry_after
from keptn_remedy.notifications.channels import Post
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.proxy import proxy_for

ANSWER_SECONDS, CONNECT_SECONDS = 15.0, 5.0
MAX_ANSWER = 200
# Answers about what was sent: the same body will never be taken. All others are about the way.
_ABOUT_THE_BODY = frozenset({400, 413, 422})


class NotSent(Exception):
    """It may be taken later; `wait_seconds` is what the channel asks for."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class NotTaken(Exception):
    """It will never be taken."""


class Sender:
    """Posts to addresses from the settings alone: redirects are not followed."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._session: ClientSession | None = None

    async def send(self, posts: Sequence[Post]) -> None:
        """Send all of them; one that is taken is enough.

        Raises:
            NotSent, NotTaken: none was taken.
        """
        outcomes = await asyncio.gather(*map(self._post, posts), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        if len(failures) < len(posts) or not failures:
            return
        # One that may be taken later says more than one that will never be.
        raise min(failures, key=lambda failure: isinstance(failure, NotTaken))

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def _post(self, post: Post) -> None:
        host = post.url.host
        try:
            async with self._opened().post(
                post.url,
                data=post.body,
                headers=post.headers,
                allow_redirects=False,
                proxy=proxy_for(post.url),
            ) as answer:
                if 200 <= answer.status < 300:
                    return
                said = (await answer.content.read(MAX_ANSWER)).decode("utf-8", "replace")
                status, headers = answer.status, answer.headers
        except TimeoutError:
            raise NotSent(
                self._mask.text(f"{host}: no answer within {ANSWER_SECONDS:g} s")
            ) from None
        except (ClientError, OSError, ValueError) as error:
            raise NotSent(self._mask.text(f"{host}: {in_words(error)}")) from None
        if 300 <= status < 400:
            raise NotSent(self._mask.text(f"{host} answered {status}; no redirect is followed"))
        words = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        reason = self._mask.text(f"{host} answered {status}{words and f': {words}'}")
        if status in _ABOUT_THE_BODY:
            raise NotTaken(reason)
        raise NotSent(reason, retry_after(headers) if is_temporary(status) else None)

    def _opened(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": "keptn-remedy"},
            )
        return self._session
