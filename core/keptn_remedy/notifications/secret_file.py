"""A secret in a file: read for each use, so that it can be replaced, and masked everywhere."""

from __future__ import annotations

from pathlib import Path

from yarl import URL

from keptn_remedy.support.masking import Mask
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable

MAX_CHARACTERS = 4_096


class ChannelTrouble(Exception):
    """The channel can't be used as it is set up; the message says why, without a secret."""


class SecretFile:
    """A file that holds one secret, or an address that is one."""

    def __init__(self, path: Path, mask: Mask) -> None:
        self._path = path
        self._file = MountedFile(path, MAX_CHARACTERS)
        self._mask = mask

    async def read(self) -> str:
        """The secret.

        Raises:
            ChannelTrouble: the file can't be read, or is empty.
        """
        try:
            text = (await self._file.read()).text.strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ChannelTrouble(f"can't read {self._path}: {why_unreadable(error)}") from None
        if not text:
            raise ChannelTrouble(f"{self._path} is empty")
        self._mask.hide(text)
        return text

    async def url(self) -> URL:
        """The address in the file, whose path is the secret.

        Raises:
            ChannelTrouble: as `read`, or it is no address.
        """
        text = await self.read()
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host or len(text.split()) > 1:
            raise ChannelTrouble(f"{self._path} holds no http or https address")
        self._mask.hide(url.raw_path_qs, url.path_qs, *filter(None, (url.password,)))
        return url
