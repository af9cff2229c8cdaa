"""PagerDuty's webhooks (version 3): what people say of an incident."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, cast

import orjson

from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.journal import PersonsWord
from keptn_remedy.standalone.alertmanager import BadMessage

SIGNATURE: Final = "X-PagerDuty-Signature"
KEY: Final = "remedy:escalation "
"""How the key of incidents begins that we have triggered; the episode's id follows."""
_HOLDS: Final = ("incident.acknowledged",)
_FREES: Final = (
    "incident.resolved",
    "incident.unacknowledged",
    "incident.reopened",
    "incident.triggered",
)
_MOST = 200


def is_signed(secret: str, body: bytes, header: str) -> bool:
    """Whether one of the signatures is the secret's: `v1=` and hex HMAC-SHA-256 of the body."""
    made = b"v1=" + hmac.new(secret.encode(), body, sha256).hexdigest().encode()
    # A header may hold bytes that are no UTF-8.
    given = [each.strip().encode(errors="surrogateescape") for each in header.split(",")]
    # All of them, in the same time.
    return sum(hmac.compare_digest(made, each) for each in given) > 0


def word_in(body: bytes) -> tuple[PersonsWord | None, Mapping[str, str]]:
    """What somebody says, and the incident as labels; None where it is nothing that matters here.

    Raises:
        BadMessage: it is no webhook of PagerDuty.
    """
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"the body is not JSON: {error}") from None
    event = _map(_map(sent).get("event"))
    kind = event.get("event_type")
    if not isinstance(kind, str):
        raise BadMessage("it has no event.event_type; is it a webhook of version 3?")
    data = _map(event.get("data"))
    title = _text(data.get("title"))
    labels = {"title": title, "service": _name(_text(_map(data.get("service")).get("summary")))}
    if kind not in (*_HOLDS, *_FREES):
        return None, labels
    word = PersonsWord(
        title=title,
        episode=_text(data.get("incident_key")).removeprefix(KEY),
        by=_text(_map(event.get("agent")).get("summary")) or "somebody",
        says=kind.removeprefix("incident."),
        holds=kind in _HOLDS,
        at=_time(event.get("occurred_at")),
    )
    return word, labels


def _map(found: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", found) if is_object(found) else {}


def _text(found: Any) -> str:
    return found[:_MOST].replace("\0", "\ufffd") if isinstance(found, str) else ""


def _name(summary: str) -> str:
    """A service of PagerDuty as ours are called: lower case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", summary.lower()).strip("-")


def _time(written: Any) -> float:
    try:
        return datetime.fromisoformat(str(written)).timestamp()
    except ValueError:
        raise BadMessage("event.occurred_at is no time") from None
