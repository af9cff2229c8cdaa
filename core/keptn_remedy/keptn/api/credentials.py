"""What each request to Keptn's API carries: its token, an access token of OAuth, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from keptn_remedy.keptn.api.connections import FORBIDDEN, UNKNOWN
from keptn_remedy.support import logs
from keptn_remedy.support.mounted_files import MountedFile

MOST_CHARACTERS = 16_384


class NoCredentials(Exception):
    """There are none for the next request; the message ends a sentence about Keptn's API."""


class Secret:
    """A secret of the settings, and what the file holds later; it may be empty until then. `hide`
    gets each that is new.
    """

    def __init__(
        self, value: str, path: Path | None = None, hide: Callable[[str], None] | None = None
    ) -> None:
        self.value = value
        self._file = MountedFile(path, MOST_CHARACTERS) if path else None
        self._hide = hide
        self._is_told = False

    def hide(self, form: str) -> None:
        """Have this hidden too: it tells the secret."""
        if self._hide:
            self._hide(form)

    async def renew(self) -> None:
        """Read the file again."""
        if self._file is None:
            return
        try:
            found = (await self._file.read(anew=True)).text.strip()
        except (OSError, UnicodeDecodeError) as error:
            if not self._is_told:
                logs.logger().warning("a secret can't be read again", reason=str(error))
            self._is_told = True
            return
        self._is_told = False
        if found and found != self.value:
            self.hide(found)
            self.value = found


class Login(Protocol):
    """Where access tokens come from."""

    async def access_token(self) -> str:
        """A token that is valid now. Raises NoCredentials where there is none."""
        ...

    async def renew(self, *, is_known: bool = False) -> None:
        """Get another token for the next request. `is_known`: the token was taken, but it may lack
        a right; it still serves where there is no other, or where it is new.
        """
        ...

    async def close(self) -> None: ...


class Credentials:
    """The credentials of one API: the token as `x-token`, the login's as `Authorization`."""

    def __init__(self, token: Secret | None = None, login: Login | None = None) -> None:
        self._token = token
        self._login = login
        self._renewing = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        """The headers of the next request.

        Raises:
            NoCredentials: the login fails.
        """
        headers = {"x-token": self._token.value} if self._token and self._token.value else {}
        if self._login:
            headers["Authorization"] = f"Bearer {await self._login.access_token()}"
        return headers

    async def renew(self, used: Mapping[str, str], status: int | None) -> bool:
        """Whether there are others now than those with which a request got a response, if its
        status is a refusal. Many may ask at once.

        Raises:
            NoCredentials: the login fails.
        """
        if status not in (UNKNOWN, FORBIDDEN):
            return False
        async with self._renewing:
            if await self.headers() == used:
                if self._token:
                    await self._token.renew()
                if self._login:
                    await self._login.renew(is_known=status == FORBIDDEN)
            return await self.headers() != used

    async def close(self) -> None:
        if self._login:
            await self._login.close()
