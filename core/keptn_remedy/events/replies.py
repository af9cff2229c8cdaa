"""Our replies to a trigger: reports within Keptn's size limit and every release's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import NAMESPACE_URL, uuid5

import orjson

from keptn_remedy.events.bounds import MAX_MESSAGE_CHARACTERS, shortened
from keptn_remedy.events.cloud_event import write_structured
from keptn_remedy.events.trigger import ACTION, ActionTriggered, event_type

STARTED: Final = event_type(ACTION, "started")
FINISHED: Final = event_type(ACTION, "finished")
LOG_ERROR: Final = "sh.keptn.log.error"
STATUS_CHANGED: Final = event_type(ACTION, "status.changed")
# Keptn's gateway and sidecar reject 64 KB; half leaves room for what they add (docs/keptn.md#k9).
MAX_REPORT_BYTES: Final = 32_000
SHORT_MESSAGE_CHARACTERS: Final = 200
# Of details that are too long: what says which execution it was, and that there were more.
_KEPT_DETAILS: Final = {"execution", "attempts", "cut"}
_REPORT_IDS: Final = uuid5(NAMESPACE_URL, "https://keptn.sh/keptn-remedy/report").bytes

ReportKind = Literal["started", "finished", "log.error", "status.changed"]
# As `write_structured` writes it, before anything that holds foreign text.
_TYPE_BEFORE: Final = b'"type":"'


class Report(NamedTuple):
    """An event we owe Keptn. `execution` is None for one that belongs to no trigger."""

    kind: ReportKind
    execution: str | None
    body: bytes

    @property
    def type(self) -> str:
        """The CloudEvents type, such as `sh.keptn.event.action.finished`."""
        begin = self.body.index(_TYPE_BEFORE) + len(_TYPE_BEFORE)
        return self.body[begin : self.body.index(b'"', begin)].decode()


@dataclass(frozen=True, slots=True)
class Replies:
    """Writes our reports for a trigger, all with one `source`.

    `mirror_outcome` repeats the outcome in `data.action`, where Keptn's documentation and 0.7
    expect it (docs/keptn.md#k17). `is_legacy`: for Keptn 0.7, which reads it nowhere else.
    """

    source: str
    mirror_outcome: bool = True
    is_legacy: bool = False

    def started(self, trigger: ActionTriggered, now: datetime) -> Report:
        """`<task>.started`: from now on Keptn waits for a `finished`."""
        return self._report("started", trigger, now, _scope(trigger))

    def finished(
        self,
        trigger: ActionTriggered,
        now: datetime,
        *,
        status: str,
        result: str,
        message: str,
        details: Mapping[str, Any],
        attempts: int | None = None,
    ) -> Report:
        """`<task>.finished`. For `action` the `details` go under the key `remedy`, as text and maps
        of text, with the execution and its `attempts`; for another task under `data.<task>`, as
        they are.
        """
        data: dict[str, Any] = _scope(trigger)
        outcome = {"status": status, "result": "failed" if result == "fail" else "pass"}
        if self.is_legacy:
            data[trigger.task] = outcome
            return self._report("finished", trigger, now, data)
        data["status"], data["result"] = status, result
        data["message"] = message if len(message) <= MAX_MESSAGE_CHARACTERS else shortened(message)
        if trigger.task != ACTION:
            data |= {trigger.task: dict(details)} if details else {}
            return self._report("finished", trigger, now, data)
        told = {} if attempts is None else {"execution": trigger.id, "attempts": str(attempts)}
        data["remedy"] = as_text({**details, **told})
        if self.mirror_outcome or trigger.specversion == "0.2":
            data["action"] = outcome
        return self._report("finished", trigger, now, data)

    def status_changed(self, trigger: ActionTriggered, now: datetime) -> Report:
        """`<task>.status.changed`: the execution is still under way."""
        data = {**_scope(trigger), "status": "succeeded", "message": "still under way"}
        return self._report("status.changed", trigger, now, data)

    def error_log(self, trigger: ActionTriggered | None, now: datetime, message: str) -> Report:
        """`sh.keptn.log.error`; without a trigger it belongs to no sequence."""
        data = {"message": shortened(message)}
        if trigger is not None:
            data["task"] = trigger.task
        return self._report("log.error", trigger, now, data)

    def _report(
        self,
        kind: ReportKind,
        trigger: ActionTriggered | None,
        now: datetime,
        data: dict[str, Any],
    ) -> Report:
        event_id = report_id(trigger.id if trigger else f"{now.isoformat()} {data}", kind)
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": event_id,
            "source": self.source,
            "type": LOG_ERROR,
            "datacontenttype": "application/json",
            "time": now,
        }
        is_legacy = self.is_legacy
        if trigger is not None:
            if kind != "log.error":
                attributes["type"] = f"sh.keptn.event.{trigger.task}.{kind}"
            attributes["shkeptncontext"] = trigger.context
            attributes["triggeredid"] = trigger.id
            attributes["shkeptnspecversion"] = trigger.keptn_spec_version
            if trigger.git_commit_id:
                attributes["gitcommitid"] = trigger.git_commit_id
            if trigger.traceparent:
                attributes["traceparent"] = trigger.traceparent
            if trigger.tracestate:
                attributes["tracestate"] = trigger.tracestate
            is_legacy = is_legacy or trigger.specversion == "0.2"
        body = _written(attributes, data, is_legacy=is_legacy)
        while len(body) > MAX_REPORT_BYTES and _shrink(data):
            body = _written(attributes, data, is_legacy=is_legacy)
        return Report(kind, trigger.id if trigger else None, body)


def _written(attributes: dict[str, Any], data: dict[str, Any], *, is_legacy: bool) -> bytes:
    """The report in its structured JSON form. The SDK writes what is not plainly valid 1.0, or says
    what is wrong with it.
    """
    if is_legacy or not all(attributes.values()):
        return write_structured(attributes, data, legacy=is_legacy)
    moment: datetime = attributes["time"]
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return orjson.dumps({**attributes, "time": text, "data": data})


def report_id(trigger_id: str, kind: ReportKind) -> str:
    """The id of a report, the same for each attempt to send it (UUIDv5 of kind and trigger)."""
    # As `uuid.uuid5` makes it (RFC 9562 §5.5), at a fifth of its cost.
    digest = sha1(_REPORT_IDS + f"{kind} {trigger_id}".encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def _scope(trigger: ActionTriggered) -> dict[str, Any]:
    return {
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
        "labels": dict(trigger.labels),
    }


def _shrink(data: dict[str, Any]) -> bool:
    """Cut message, details, then labels; False when nothing is left to cut."""
    if len(data.get("message", "")) > SHORT_MESSAGE_CHARACTERS:
        data["message"] = shortened(data["message"], SHORT_MESSAGE_CHARACTERS)
    elif (details := data.get("remedy", {})).keys() - _KEPT_DETAILS:
        kept = {name: details[name] for name in ("execution", "attempts") if name in details}
        data["remedy"] = {**kept, "cut": "the details were left out"}
    elif data.get("labels"):
        data["labels"] = {}
    else:
        return False
    return True


def as_text(value: Mapping[str, Any]) -> dict[str, Any]:
    """The map with every value as text or map: Keptn freezes numbers and joins lists of several
    rounds (docs/keptn.md#k22).
    """
    return {str(name): _text_or_map(item) for name, item in value.items()}


def _text_or_map(value: Any) -> Any:
    if isinstance(value, Mapping):
        return as_text(cast("Mapping[str, Any]", value))
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a number beyond 64 bits, half a surrogate
        return repr(value)
