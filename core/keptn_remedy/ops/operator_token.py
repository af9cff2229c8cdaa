"""A bearer token: a file, read for each request because Kubernetes replaces it."""

from __future__ import annotations

import hmac
import re
from itertools import pairwise
from pathlib import Path

from keptn_remedy.support.masking import Mask
from keptn_remedy.support.mounted_files import MountedFile
from keptn_remedy.support.variables import SettingsError

VARIABLE = "REMEDY_OPERATOR_TOKEN_FILE"
OF_AGENTS = "REMEDY_AGENT_TOKEN_FILE"
FEWEST_CHARACTERS, MOST_CHARACTERS = 16, 4096
# Of a random token even 16 hexadecimal digits have more.
FEWEST_DIFFERENT = FEWEST_ORIGINAL = 6
# What people write where a secret should go. All that is left of a token without them must do.
_PLACEHOLDERS = re.compile(
    "change|please|replace|secret|token|passw(or)?d|passphrase|operator|remedy|keptn|admin|root|user"
    "|default|example|sample|test|dummy|todo|your|this|here|with|some|value|letmein|welcome|me|my|the"
)
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")


class OperatorToken:
    """The token in the file that the setting `variable` names. `mask` hides every token that the
    file has held.
    """

    def __init__(self, path: Path, mask: Mask, variable: str = VARIABLE) -> None:
        self._file = MountedFile(path, MOST_CHARACTERS + 1)
        self._mask = mask
        self._variable = variable
        self._hidden: str | None = None

    async def begin(self) -> None:
        """Check that the file holds a token.

        Raises:
            SettingsError: it holds none or a weak one, or can't be read in time.
        """
        await self.read()

    async def read(self) -> str:
        """The token that the file holds now.

        Raises:
            SettingsError: the file holds no token any more, or can't be read in time.
        """
        token = await self._text()
        if why := weakness(token):
            raise self._no_token(why)
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
            raise SettingsError(
                [f"{self._variable}: can't read {self._file.path}: {why}"]
            ) from None
        if len(text) > MOST_CHARACTERS:
            raise self._no_token(f"has over {MOST_CHARACTERS} characters")
        return text.strip()

    def _no_token(self, why: str) -> SettingsError:
        return SettingsError([f"{self._variable}: the token in {self._file.path} {why}"])


def are_same(given: str, token: str) -> bool:
    """Whether both are the same, in a time that doesn't tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def weakness(token: str) -> str | None:
    """Why the token could be guessed, as far as its form shows that; None if it doesn't."""
    if len(token) < FEWEST_CHARACTERS:
        return f"has under {FEWEST_CHARACTERS} characters"
    how = "make one with: openssl rand -hex 32"
    if len(set(token)) < FEWEST_DIFFERENT:
        return f"has under {FEWEST_DIFFERENT} different characters; {how}"
    if _is_repeated(token):
        return f"repeats itself; {how}"
    left = re.sub("[^a-z0-9]", "", _PLACEHOLDERS.sub("", token.lower()))
    if len(_without_rows(left)) < FEWEST_ORIGINAL:
        return f"is made of common words, rows of keys or numbers; {how}"
    return None


def _is_repeated(token: str) -> bool:
    """Whether it is a piece that comes again and again."""
    return any(
        token == (token[:size] * (len(token) // size + 1))[: len(token)]
        for size in range(1, len(token) // 2 + 1)
    )


def _without_rows(text: str) -> str:
    """The text with each run of neighbours, such as `6789` or `qwer`, as one character."""
    kept = text[:1]
    for before, character in pairwise(text):
        pair = before + character
        if before != character and not any(pair in row or pair[::-1] in row for row in _ROWS):
            kept += character
    return kept
