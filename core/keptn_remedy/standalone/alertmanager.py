"""Alertmanager: what its messages say, and what it lists when it is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import JSONDecoder
from typing import Any, NamedTuple, cast

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.http_client import in_words
from keptn_remedy.notifications.channels.alertmanager import Alertmanager as OwnAlert
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.standalone.ladder import Confirmation
from keptn_remedy.standalone.mapping import Alert

ASK_SECONDS = 5.0
# After its start it knows nothing until Prometheus posts again, which takes a minute by default.
YOUNG_SECONDS = 120.0


_NO_LISTING = (ClientError, TimeoutError, ValueError, TypeError, KeyError, AttributeError)


class BadMessage(Exception):
    """The body is none of this kind of source; the message says why."""


class Message(NamedTuple):
    """What a message says: its alerts, how many it left out, and why others can't be read: with
    what each is called, as far as that shows.
    """

    alerts: Sequence[Alert]
    left_out: int = 0
    unreadable: Sequence[tuple[str, str]] = ()


def alerts_in(body: bytes) -> Message:
    """The alerts of a webhook message. One that can't be read does not keep out the others.

    Raises:
        BadMessage: it is no message of Alertmanager: not one alert of it can be read.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"the body is not JSON: {error}") from None
    if not is_object(message) or not isinstance(message.get("alerts"), list):
        raise BadMessage(
            "it has no list of alerts; is the body replaced by a template of the receiver?"
        )
    found: list[Alert] = []
    unreadable: list[tuple[str, str]] = []
    for each in cast("Iterable[Any]", message["alerts"]):
        try:
            found.append(_alert(each))
        except BadMessage as error:
            unreadable.append((_called(each), str(error)))
    if unreadable and not found:
        raise BadMessage(unreadable[0][1])
    truncated = message.get("truncatedAlerts")
    return Message(found, truncated if isinstance(truncated, int) else 0, unreadable)


def _called(sent: Any) -> str:
    labels = texts(cast("dict[str, Any]", sent).get("labels")) if isinstance(sent, dict) else {}
    return labels.get("alertname", "")


def _alert(sent: Any) -> Alert:
    if not isinstance(sent, dict):
        raise BadMessage("an alert must be an object")
    alert = cast("dict[str, Any]", sent)
    labels, status = texts(alert.get("labels")), alert.get("status")
    if status not in ("firing", "resolved"):
        raise BadMessage("an alert's status must be firing or resolved")
    return Alert(
        fingerprint=_fingerprint(alert),
        is_firing=status == "firing",
        labels=labels,
        annotations=texts(alert.get("annotations")),
        starts_at=_storable(str(alert.get("startsAt") or "")[:64]),
        url=_storable(str(alert.get("generatorURL") or "")[:2000]),
    )


def _fingerprint(alert: Mapping[str, Any]) -> str:
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str) or not 0 < len(fingerprint) <= 200:
        raise BadMessage("an alert has no fingerprint")
    return _storable(fingerprint)


def texts(sent: Any) -> dict[str, str]:
    """A map of texts; whatever else it holds is left out."""
    if not isinstance(sent, dict):
        return {}
    fields = cast("dict[str, Any]", sent)
    found = {name: value for name, value in fields.items() if isinstance(value, str)}
    if "\0" in "".join((*found, *found.values())):
        found = {_storable(name): _storable(value) for name, value in found.items()}
    return found


def _storable(text: str) -> str:
    """Without what PostgreSQL keeps in no text."""
    return text.replace("\0", "\ufffd")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the Alertmanagers of a source list: fingerprints that fire, and those that are silenced
    or inhibited. `began_at` is when the last of them was started; None where one of them could not
    be asked. Both times are Unix times in seconds, by our wall clock.
    """

    firing: frozenset[str]
    suppressed: frozenset[str]
    bodies: Sequence[bytes]
    """The answers, for `alerts`: what they say of thousands takes five times as much."""
    began_at: float | None
    asked_at: float

    def alerts(self, but: Collection[str]) -> Iterator[Alert]:
        """The alerts that fire, but for those of these fingerprints. It reads the answers again, so
        it belongs into a thread.
        """
        # Each Alertmanager of a pair lists the same: the first one counts.
        left = set(self.firing.difference(but))
        for body in self.bodies if left else ():
            for each in _each(body):
                if each["fingerprint"] in left:
                    left.remove(each["fingerprint"])
                    yield _alert({**each, "status": "firing"})

    def says(self, fingerprints: frozenset[str], resolved_ago: float | None = None) -> Confirmation:
        """What this means for an episode with these members, which they resolved so many seconds
        ago (None: they did not). What a new one doesn't list may still be told to it, unless it has
        resolved it itself.
        """
        if fingerprints & self.firing:
            return "firing"
        if fingerprints & self.suppressed:
            return "suppressed"
        if self.began_at is None:
            return "unknown"
        age = self.asked_at - self.began_at
        knew_it = resolved_ago is not None and resolved_ago < age
        return "absent" if knew_it or age >= YOUNG_SECONDS else "unknown"


class Alertmanagers:
    """All Alertmanagers of one source: what fires at any of them fires."""

    def __init__(
        self, http: ClientSession, urls: Sequence[str], receiver: str, now: Callable[[], float]
    ) -> None:
        self._http = http
        self._urls = [url.rstrip("/") for url in urls]
        self._receiver = receiver
        self._now = now
        self.problem: str | None = None

    async def listed(self) -> Listed | None:
        """What they list; None where none can be asked, and `problem` says why."""
        found: list[_Listing] = []
        began_at, self.problem = 0.0, None
        for url in self._urls:
            try:
                body = await self._get(f"{url}/api/v2/alerts")
                status = orjson.loads(await self._get(f"{url}/api/v2/status"))
                # So it is called, but it is the time of its start.
                began = datetime.fromisoformat(str(status["uptime"])).timestamp()
                # There may be thousands: the event loop goes on meanwhile.
                found.append(await asyncio.to_thread(_listing, body, self._receiver))
                began_at = max(began_at, began)
            except (*_NO_LISTING, BadMessage) as error:
                self.problem = f"{URL(url).with_user(None)}: {in_words(error)}"
        if not found:
            return None
        firing = frozenset[str]().union(*(each.firing for each in found))
        return Listed(
            firing=firing,
            suppressed=frozenset[str]().union(*(each.suppressed for each in found)) - firing,
            bodies=[each.body for each in found],
            began_at=began_at if len(found) == len(self._urls) else None,
            asked_at=self._now(),
        )

    async def tell(self, told: Notification) -> bool:
        """Give all of them this as an alert; False where one did not take it."""
        channel = OwnAlert([URL(url) for url in self._urls], None, self._now)
        is_taken = bool(self._urls)
        for post in await channel.posts(told):
            try:
                async with self._http.post(
                    post.url,
                    data=post.body,
                    headers=post.headers,
                    timeout=ClientTimeout(ASK_SECONDS),
                    raise_for_status=False,
                ) as answer:
                    is_taken &= answer.status == 200
            except (ClientError, TimeoutError):
                is_taken = False
        return is_taken

    async def _get(self, url: str) -> bytes:
        async with self._http.get(
            url, timeout=ClientTimeout(ASK_SECONDS), raise_for_status=False
        ) as answer:
            if answer.status != 200 or answer.content_type != "application/json":
                raise ValueError(f"answered {answer.status} {answer.content_type}")
            return await answer.read()


class _Listing(NamedTuple):
    """What one Alertmanager lists of ours, and its answer."""

    firing: set[str]
    suppressed: set[str]
    body: bytes


def _listing(body: bytes, receiver: str) -> _Listing:
    found = _Listing(set(), set(), body)
    for each in _each(body):
        if receiver not in {named["name"] for named in each["receivers"]}:
            continue
        is_suppressed = each["status"]["state"] == "suppressed"
        (found.suppressed if is_suppressed else found.firing).add(_fingerprint(each))
    return found


def _each(body: bytes) -> Iterator[dict[str, Any]]:
    """The elements of a JSON list, one at a time: thousands at once take five times its size.

    Raises:
        ValueError: it is none.
    """
    text, decoder = body.decode(), JSONDecoder()
    at, end = _after(r"\[", text, 0), re.compile(r"\s*\]\s*")
    while not end.fullmatch(text, at):
        try:
            found, at = decoder.raw_decode(text, at)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        yield found
        if not end.fullmatch(text, at):
            at = _after(",", text, at)


def _after(mark: str, text: str, at: int) -> int:
    """Behind a mark and the blanks around it."""
    found = re.compile(rf"\s*{mark}\s*").match(text, at)
    if found is None:
        raise ValueError("it is no list in JSON")
    return found.end()
