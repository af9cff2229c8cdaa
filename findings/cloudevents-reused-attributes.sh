#!/usr/bin/env bash
# cloudevents 2.2.0: two events made from one dict of attributes are one event to every receiver.
#
# Guess: the dict is only read. Each event without an `id` gets an id of its own.
# Seen: the constructor writes id and time into the caller's dict, and keeps that very dict. The
#   second event takes over the id of the first, so a receiver that dedupes drops it. A type that
#   is changed in between changes in the first event as well.
# Do: pass a fresh dict to each constructor.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install cloudevents==2.2.0

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from cloudevents.core.bindings.http import from_http_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

print("cloudevents", version("cloudevents"))


def received(*events):
    """The ids that a receiver reads off the wire."""
    return [from_http_event(to_structured_event(event)).get_id() for event in events]


attributes = {"type": "order.paid", "source": "/shop"}
paid = CloudEvent(dict(attributes), {"order": 1})
sent = CloudEvent(dict(attributes) | {"type": "order.sent"}, {"order": 1})
print("a fresh dict each:", *received(paid, sent))
seen = {"fresh dicts": (len(set(received(paid, sent))), paid.get_type(), sent.get_type())}

paid = CloudEvent(attributes, {"order": 1})
attributes["type"] = "order.sent"
sent = CloudEvent(attributes, {"order": 1})
print("the same dict:", *received(paid, sent))
seen["one dict"] = (len(set(received(paid, sent))), paid.get_type(), sent.get_type())
seen["keys of the dict afterwards"] = sorted(attributes)
recorded = {
    "fresh dicts": (2, "order.paid", "order.sent"),
    "one dict": (1, "order.sent", "order.sent"),
    "keys of the dict afterwards": ["id", "source", "specversion", "time", "type"],
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
