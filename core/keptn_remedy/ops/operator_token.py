"""The operators' bearer token: a file, read for each order because Kubernetes replaces it."""

from __future__ import annotations

import hmac
from pathlib import Path

from keptn_remedy.guardrails.files import MountedFile
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.variables import SettingsError

VARIABLE = "REMEDY_OPERATOR_TOKEN_FILE"
FEWEST_CHARACTERS, MOST_CHARACTERS = 16, 4096


class OperatorToken:
    """The token in the file. `mask` hides every token that the file has held."""

    def __init__(self, path: Path, mask: Mask) -> None:
        self._file = MountedFile(path, MOST_CHARACTERS + 1)
        self._mask = mask
        self._hidden: str | None = None

    async def begin(self) -> None:
        """Check that the file holds a token.

        Raises:
            SettingsError: it holds none, or can't be read in time.
        """
        await self._read()

    async def is_right(self, given: str) -> bool:
        """Whether this is the token that the file holds now.

        Raises:
            SettingsError: the file holds no token any more, or can't be read in time.
        """
        token = await self._read()
        return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())

    async def _read(self) -> str:
        token = await self._text()
        if len(token) < FEWEST_CHARACTERS:
            raise self._no_token(f"has under {FEWEST_CHARACTERS} characters")
        if token != self._hidden:
            self._hidden = token
            self._mask.hide(token)
        return token

    async def _text(self) -> str:
        try:
            text = (await self._file.read(anew=True)).text
        except (OSError, UnicodeDecodeError) as error:
            strerror = error.strerror if isinstance(error, OSError) else "it is not text"
            why = strerror or error
            raise SettingsError([f"{VARIABLE}: can't read {self._file.path}: {why}"]) from None
        if len(text) > MOST_CHARACTERS:
            raise self._no_token(f"has over {MOST_CHARACTERS} characters")
        return text.strip()

    def _no_token(self, why: str) -> SettingsError:
        return SettingsError([f"{VARIABLE}: the token in {self._file.path} {why}"])
