"""What each request to Keptn's API carries: its token, an access token of OAuth, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from keptn_remedy.guardrails.files import MountedFile
from keptn_remedy.support import logs

MOST_CHARACTERS = 16_384


class NoCredentials(Exception):
    """There are none for the next request; the message ends a sentence about Keptn's API."""


class Secret:
    """A secret of the settings, and what the file holds later. `hide` gets each that is new."""

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

    async def renew(self) -> bool:
        """Read the file again; returns whether it holds another one now."""
        if self._file is None:
            return False
        try:
            found = (await self._file.read(anew=True)).text.strip()
        except (OSError, UnicodeDecodeError) as error:
            if not self._is_told:
                logs.logger().warning("a secret can't be read again", reason=str(error))
            self._is_told = True
            return False
        self._is_told = False
        if not found or found == self.value:
            return False
        self.hide(found)
        self.value = found
        return True


class Login(Protocol):
    """Where access tokens come from."""

    async def access_token(self) -> str:
        """A token that is valid now. Raises NoCredentials where there is none."""
        ...

    async def renew(self) -> bool:
        """Forget the token, which was refused; returns whether there can be another one."""
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
        headers = {"x-token": self._token.value} if self._token else {}
        if self._login:
            headers["Authorization"] = f"Bearer {await self._login.access_token()}"
        return headers

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether there may be better ones than those refused. Many may ask at once.

        Raises:
            NoCredentials: the login fails.
        """
        async with self._renewing:
            if await self.headers() != refused:
                return True
            is_new = self._token is not None and await self._token.renew()
            return (self._login is not None and await self._login.renew()) or is_new

    async def close(self) -> None:
        if self._login:
            await self._login.close()
