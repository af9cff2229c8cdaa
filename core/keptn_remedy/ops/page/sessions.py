"""Who has signed in: a signed cookie, good for hours, in every replica and after a restart."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import orjson

from keptn_remedy.journal import Memories
from keptn_remedy.ops.operators import Operator

COOKIE = "remedy_session"
SECONDS = 12 * 3600
# The key is in the journal's memory, under a name that no action can have.
_OWNER, _KEY = "", "page"
_LONGEST = 1024


class Claim(NamedTuple):
    """What a cookie says, before anybody has compared its signature."""

    name: str
    expires_at: float
    payload: bytes
    signature: str


class Sessions:
    """Makes and checks cookies.

    The signature is made with a key that the journal keeps and with the hash of the operator's
    token: whoever has read one of the two can sign nothing, and a new token ends all sessions that
    the old one began.
    """

    def __init__(self, journal: Memories, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now
        self._key: bytes | None = None

    async def begin(self, operator: Operator) -> str:
        """The cookie of a new session.

        Raises:
            JournalError: the key can't be read, or not be kept.
        """
        said = {"n": operator.name, "e": self._now() + SECONDS, "r": secrets.token_hex(8)}
        payload = base64.urlsafe_b64encode(orjson.dumps(said))
        return f"{payload.decode()}.{_signed(await self._signing_key(), operator, payload)}"

    async def is_good(self, claim: Claim, operator: Operator) -> bool:
        """Whether a cookie was made for this operator, with the token that counts now.

        Raises:
            JournalError: the key can't be read.
        """
        if not 0 < claim.expires_at - self._now() <= SECONDS + 60:
            return False
        wanted = _signed(await self._signing_key(), operator, claim.payload)
        return hmac.compare_digest(wanted, claim.signature)

    async def form_token(self, cookie: str) -> str:
        """What the forms of a session carry: no other site knows it.

        Raises:
            JournalError: the key can't be read.
        """
        key = await self._signing_key()
        return hmac.new(key, b"form " + cookie.encode(), sha256).hexdigest()

    async def _signing_key(self) -> bytes:
        if self._key is None:
            kept = await self._journal.recall(_OWNER, _KEY)
            if not isinstance(kept, str):
                # Race: another replica makes one as well. The first that is kept counts for both.
                made = secrets.token_hex(32)
                if await self._journal.remember_instead(kept, _OWNER, _KEY, made):
                    kept = made
                else:
                    kept = str(await self._journal.recall(_OWNER, _KEY))
            self._key = kept.encode()
        return self._key


def claimed(cookie: str) -> Claim | None:
    """What a cookie says; None if it is none of ours."""
    payload, _, signature = cookie.partition(".")
    if len(cookie) > _LONGEST or not cookie.isascii():
        return None
    try:
        said = orjson.loads(base64.urlsafe_b64decode(payload))
        return Claim(str(said["n"]), float(said["e"]), payload.encode(), signature)
    except (ValueError, KeyError, TypeError):
        return None


def _signed(key: bytes, operator: Operator, payload: bytes) -> str:
    own = hmac.new(key, operator.token_sha256.encode(), sha256).digest()
    return hmac.new(own, operator.role.encode() + b"\n" + payload, sha256).hexdigest()
