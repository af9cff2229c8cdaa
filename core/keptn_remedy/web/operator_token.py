"""The token that operators show: a file that is read for each order, since Kubernetes swaps it."""

from __future__ import annotations

import hmac
from pathlib import Path

from keptn_remedy.masking import Mask
from keptn_remedy.variables import SettingsError

VARIABLE = "REMEDY_OPERATOR_TOKEN_FILE"
FEWEST_CHARACTERS = 16


class OperatorToken:
    """What the file holds. The mask learns every token that it has held.

    Raises:
        SettingsError: the file holds no token.
    """

    def __init__(self, path: Path, mask: Mask) -> None:
        self._path = path
        self._mask = mask
        self._hidden: str | None = None
        self._read()

    def is_right(self, given: str) -> bool:
        """Whether this is the token now.

        Raises:
            SettingsError: the file holds no token any more, so that none is right.
        """
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._read().encode())

    def _read(self) -> str:
        try:
            token = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError([f"{VARIABLE}: can't read {self._path}: {reason}"]) from None
        if len(token) < FEWEST_CHARACTERS:
            raise SettingsError(
                [f"{VARIABLE}: the token in {self._path} has under {FEWEST_CHARACTERS} characters"]
            )
        if token != self._hidden:
            self._hidden = token
            self._mask.hide(token)
        return token
