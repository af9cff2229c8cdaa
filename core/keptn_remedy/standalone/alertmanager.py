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
from keptn_remedy.standalone.peer_clock import answered_at
from keptn_remedy.support.near_names import near

ASK_SECONDS = 5.0
# After its start it knows nothing until Prometheus posts again, which takes a minute by default.
YOUNG_SECONDS = 120.0


_SHOWN = 12
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
    or inhibited. `up_seconds` is how long the one has been up that was started last, by its own
    clock; None where one of them could not be asked.
    """

    firing: frozenset[str]
    suppressed: frozenset[str]
    bodies: Sequence[bytes]
    """The answers, for `alerts`: what they say of thousands takes five times as much."""
    up_seconds: float | None

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
        if self.up_seconds is None:
            return "unknown"
        knew_it = resolved_ago is not None and resolved_ago < self.up_seconds
        return "absent" if knew_it or self.up_seconds >= YOUNG_SECONDS else "unknown"


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
        self.problem = None
        for url in self._urls:
            try:
                body, _ = await self._get(f"{url}/api/v2/alerts")
                up_seconds = await self._up_seconds(url)
                # There may be thousands: the event loop goes on meanwhile.
                listing = await asyncio.to_thread(_listing, body, self._receiver, up_seconds)
                if not listing.firing and not listing.suppressed:
                    await self._see_that_it_knows_us(url)
                found.append(listing)
            except (*_NO_LISTING, BadMessage) as error:
                self.problem = f"{URL(url).with_user(None)}: {in_words(error)}"
        if not found:
            return None
        firing = frozenset[str]().union(*(each.firing for each in found))
        return Listed(
            firing=firing,
            suppressed=frozenset[str]().union(*(each.suppressed for each in found)) - firing,
            bodies=[each.body for each in found],
            up_seconds=min(each.up_seconds for each in found)
            if len(found) == len(self._urls)
            else None,
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

    async def _see_that_it_knows_us(self, url: str) -> None:
        """See that it lists nothing of ours because nothing fires, not because we ask for a name
        that it does not have. One that names no receivers is believed.

        Raises:
            ValueError: it has no receiver of that name.
        """
        try:
            body, _ = await self._get(f"{url}/api/v2/receivers")
            names = receivers_in(orjson.loads(body))
        except _NO_LISTING:
            return
        if names and self._receiver not in names:
            raise ValueError(no_receiver(self._receiver, names))

    async def _up_seconds(self, url: str) -> float:
        body, answered = await self._get(f"{url}/api/v2/status")
        # So it is called, but it is the time of its start.
        return answered - datetime.fromisoformat(str(orjson.loads(body)["uptime"])).timestamp()

    async def _get(self, url: str) -> tuple[bytes, float]:
        """The answer, and when it was given by the clock of who gave it."""
        async with self._http.get(
            url, timeout=ClientTimeout(ASK_SECONDS), raise_for_status=False
        ) as answer:
            if answer.status != 200 or answer.content_type != "application/json":
                raise ValueError(f"answered {answer.status} {answer.content_type}")
            return await answer.read(), answered_at(answer.headers, self._now())


def receivers_in(answer: object) -> Sequence[str]:
    """The names of the receivers that an Alertmanager has.

    Raises:
        TypeError, KeyError: that is no list of them.
    """
    return [str(each["name"]) for each in cast("list[dict[str, object]]", answer)]


def no_receiver(name: str, names: Sequence[str]) -> str:
    """What is wrong where an Alertmanager has receivers of these names alone."""
    shown = ", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")
    return f"it has no receiver {name!r}, but {shown}{near(name, names)}"


class _Listing(NamedTuple):
    """What one Alertmanager lists of ours, and its answer."""

    firing: set[str]
    suppressed: set[str]
    body: bytes
    up_seconds: float


def _listing(body: bytes, receiver: str, up_seconds: float) -> _Listing:
    found = _Listing(set(), set(), body, up_seconds)
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
