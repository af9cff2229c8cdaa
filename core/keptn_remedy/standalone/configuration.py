"""sources.yaml in force: read again when it changes; an invalid one is rejected."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from aiohttp import ClientSession

from keptn_remedy.standalone import pagerduty
from keptn_remedy.standalone.alertmanager import Alertmanagers
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.standalone.judges import Judges, judges_of
from keptn_remedy.standalone.rules import LadderRules
from keptn_remedy.standalone.sources import (
    ALERTMANAGERS,
    Source,
    SourcesFile,
    unknown_channels,
)
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable
from keptn_remedy.support.reading import MAX_BYTES

LOOK_SECONDS = 5.0
LEAST_SECRET, MOST_SECRET = 16, 4096
# For so long a secret that was right is not read again.
FRESH_SECONDS = 1.0


class SourceSecret:
    """The secret of a source, read from its file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = MountedFile(path, MOST_SECRET + 1)
        self._clock = clock
        self._lately = "", 0.0

    async def why_unusable(self) -> str:
        """Why no message can carry it; empty if one can."""
        try:
            secret = (await self._file.read(anew=True)).text.strip()
        except (OSError, UnicodeDecodeError) as error:
            return f"{self._file.path} can't be read: {why_unreadable(error)}"
        if not secret:
            return f"{self._file.path} is empty"
        if not LEAST_SECRET <= len(secret) <= MOST_SECRET:
            return f"{self._file.path} must hold {LEAST_SECRET} to {MOST_SECRET} characters"
        return ""

    async def text(self) -> str:
        """The secret; empty where it can't be read, or is too short."""
        try:
            secret = (await self._file.read()).text.strip()
        except (OSError, UnicodeDecodeError) as error:
            logs.logger().error(
                "the secret of a source can't be read",
                path=str(self._file.path),
                reason=why_unreadable(error),
            )
            return ""
        return secret if LEAST_SECRET <= len(secret) <= MOST_SECRET else ""

    async def is_in(self, authorization: str) -> bool:
        """Whether the header carries it."""
        secret, read_at = self._lately
        # What is wrong may be a new one: the file is read again before it is refused.
        if self._clock.monotonic() - read_at < FRESH_SECONDS and _carries(authorization, secret):
            return True
        asked_at = self._clock.monotonic()  # it counts from then on, however long the reading takes
        secret = await self.text()
        self._lately = secret, asked_at
        return _carries(authorization, secret)


def _carries(authorization: str, secret: str) -> bool:
    if not secret:
        return False
    scheme, _, given = authorization.partition(" ")
    # Hashed, so that neither length nor content shows in the time it takes. A header may hold
    # bytes that are no UTF-8.
    same = hmac.compare_digest(
        *(
            sha256(each.encode(errors="surrogateescape")).digest()
            for each in (given.strip(), secret)
        )
    )
    return same and scheme.lower() == "bearer"


class OneSource:
    """A source with what is needed to hear and to ask it."""

    def __init__(self, name: str, rules: Source, http: ClientSession, clock: Clock) -> None:
        self.name = name
        self.rules = rules
        self.secret = SourceSecret(rules.secret_file, clock)
        self.alertmanagers: Alertmanagers | None = None
        if rules.alertmanagers:
            self.alertmanagers = Alertmanagers(
                http,
                [str(url) for url in rules.alertmanagers],
                rules.receiver,
                lambda: clock.utc().timestamp(),
            )

    @property
    def signature_header(self) -> str | None:
        """The header with the signature of each message; None where it carries the secret."""
        is_pagerduty = self.rules.kind == "pagerduty"
        return pagerduty.SIGNATURE if is_pagerduty else self.rules.signature_header

    @property
    def is_asked(self) -> bool:
        """Whether what it tells is compared with what its Alertmanagers list."""
        return self.rules.confirm == "on" and self.alertmanagers is not None


class Configuration:
    """What sources.yaml says. `problem` says why the file of now is rejected; None: it is in force.
    `channels` are those that it may name.

    Episodes keep what they began with, except for the numbers of `ladder`.
    """

    def __init__(
        self, path: Path, http: ClientSession, clock: Clock, channels: Collection[str] = ()
    ) -> None:
        self.path = path
        self.escalate_to: Sequence[str] = (ALERTMANAGERS,)
        self._channels = channels
        self.problem: str | None = None
        self.sources: Mapping[str, OneSource] = {}
        self.rules = LadderRules()
        self._judge = judges_of(None, http, self._unix)
        self._judges: Mapping[str, Judges] = {}
        self._file = MountedFile(path, MAX_BYTES + 1)
        self._http = http
        self._clock = clock
        self._text: str | None = None

    def judge_of(self, source: str) -> Judges:
        """Who judges the problems of a source, also of one that is not there any more."""
        return self._judges.get(source, self._judge)

    def _unix(self) -> float:
        return self._clock.utc().timestamp()

    async def begin(self) -> None:
        """Put the file in force.

        Raises:
            SourcesError: it can't be read, or is invalid.
        """
        await self._take(await self._read())

    async def watch(self) -> None:
        """Put the file in force whenever it changes, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> bool:
        """Put the file in force if it has changed; True where there is something new to tell."""
        try:
            text = await self._read()
            if text == self._text and self.problem is None:
                return False
            await self._take(text)
        except SourcesError as error:
            is_news, self.problem = self.problem != str(error), str(error)
            if is_news:
                logs.logger().error(
                    "sources rejected; the last ones stay in force", reason=str(error)
                )
            return is_news
        self.problem = None
        logs.logger().info("sources in force", sources=sorted(self.sources))
        return True

    async def _read(self) -> str:
        try:
            return (await self._file.read(anew=True)).text
        except (OSError, UnicodeDecodeError) as error:
            raise SourcesError([f"it can't be read: {why_unreadable(error)}"]) from None

    async def _take(self, text: str) -> None:
        read = await asyncio.to_thread(SourcesFile.load, text)
        sources = {
            name: OneSource(name, rules, self._http, self._clock)
            for name, rules in read.sources.items()
        }
        whys = [(name, await each.secret.why_unusable()) for name, each in sources.items()]
        mistakes = [f"sources, {name}, secret_file: {why}" for name, why in whys if why]
        mistakes += unknown_channels(read, self._channels)
        if mistakes:
            raise SourcesError(mistakes)
        self.sources = sources
        self.escalate_to = read.escalate_to
        self.rules = read.ladder.rules()
        now = self._unix
        self._judges = {
            name: judges_of(read.asked_by(name), self._http, now) for name in read.sources
        }
        self._judge = judges_of(read.prometheus, self._http, now)
        self._text = text
