"""What API servers say in errors and conditions, made fit for a message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from keptn_remedy_actions.cluster import Object

LONGEST = 300
# A denial is a text that people wrote for people; it may be longer than what servers say.
_LONGEST_DENIAL = 500
# As the API server words the answers of webhooks, of policies, and of its own admission plugins.
_DENIAL = re.compile(
    r"admission webhook \"[^\"]*\" denied the request|denied request: |is forbidden: "
)
_NO_ECHO = "failed calling webhook"


def reason_of(status: Object) -> str:
    """The reason in a Status object, never empty. A long text that is no denial may quote a whole
    object, secrets included: the word for its kind stands for it.
    """
    said = _causes_of(status) or _message_of(status)
    if is_denial(status) or _NO_ECHO in said:
        return shortened(_message_of(status) or said, _LONGEST_DENIAL)
    kind = status.get("reason") or "it gives no reason"
    return said if said and len(said) <= LONGEST else str(kind)


def is_denial(status: Object) -> bool:
    """Whether admission denied the request, with whatever status code the webhook chose; also by
    the message of a condition or an Event.
    """
    return bool(_DENIAL.search(_message_of(status)))


def _message_of(status: Object) -> str:
    return str(status.get("message") or "")


def _causes_of(status: Object) -> str:
    details: Any = status.get("details")
    if not isinstance(details, dict):  # a proxy's answer may have something else there
        return ""
    causes: Sequence[Object] = cast("Object", details).get("causes") or ()
    told = [": ".join(filter(None, (c.get("field"), c.get("message")))) for c in causes]
    return "; ".join(filter(None, told))


def shortened(text: str, longest: int) -> str:
    """The text in one line, cut between words with a mark where it is too long."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    kept = text[: longest - 1]
    return f"{kept.rpartition(' ')[0] or kept}…"
