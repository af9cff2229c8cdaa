"""Logs: one JSON object per line on stdout, for our own lines and those of libraries."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO, cast

import orjson

from keptn_remedy.events.bounds import shortened

# structlog loads rich and pygments where it finds them: 3 MB, for tracebacks that we print plainly.
_FOUND = sys.modules.get("rich")
sys.modules["rich"] = cast("ModuleType", None)
try:
    import structlog
finally:
    if _FOUND is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _FOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import ModuleType

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

    from keptn_remedy.events import ActionTriggered, Report
    from keptn_remedy.support.masking import Mask

    Render = Callable[[WrappedLogger, str, EventDict], bytes]

LogFormat = Literal["json", "console"]
# Of one value, such as a traceback.
MAX_CHARACTERS = 16_000
# On the console: who, what and how it ended; at the end what is only copied.
_FIRST = ("service", "action", "result", "outcome")
_LAST = ("execution", "keptnContext")
_LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}


def configure(
    level: str,
    log_format: LogFormat,
    keptn_service: str,
    mask: Mask,
    stream: TextIO | None = None,
) -> None:
    """Set up the process's logging, once, at start-up. `mask` is applied to every line."""
    output: TextIO = stream or sys.stdout
    number = logging.getLevelNamesMapping()[level.upper()]
    shared = _processors(keptn_service, mask)
    render = _json_renderer(mask) if log_format == "json" else _console_renderer(mask)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Sink(output.buffer))),
        cache_logger_on_first_use=True,
    )
    _capture_foreign_loggers(number, shared, render, output)


def logger() -> FilteringBoundLogger:
    """The logger for lines that belong to no execution."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found


@contextmanager
def surviving(what: str) -> Generator[None]:
    """Log an error that nobody expects, and go on: one of ours must not end a loop."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  whatever it is, the next turn may succeed
        logger().error(f"{what} failed unexpectedly", exc_info=error)


def execution_fields(trigger: ActionTriggered, action: str) -> dict[str, str]:
    """The fields of every line about an execution (docs/keptn.md#k28)."""
    return {
        "keptnContext": trigger.context,
        "execution": trigger.id,
        "triggeredId": trigger.id,
        "action": action,
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
    }


def report_fields(report: Report, action: str | None) -> dict[str, str]:
    """The fields of a line about a report: those of its execution too, if it has one."""
    if report.execution is None:
        return {"report": report.kind}
    event = orjson.loads(report.body)
    scope = {name: event["data"].get(name) for name in ("project", "stage", "service")}
    return {
        "keptnContext": event["shkeptncontext"],
        "execution": report.execution,
        "triggeredId": report.execution,
        "action": action or "",
        "report": report.kind,
        **{name: value for name, value in scope.items() if value},
    }


def _processors(keptn_service: str, mask: Mask) -> list[Processor]:
    def bound(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if isinstance(value, str) and len(value) > MAX_CHARACTERS:
                event[name] = shortened(mask.text(value), MAX_CHARACTERS)
        return event

    def complete(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {
            "timestamp": event.pop("timestamp"),
            "logLevel": _LEVELS.get(method, "ERROR"),
            "keptnService": keptn_service,
            "message": event.pop("event"),
            **event,
        }

    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
        bound,
        complete,
    ]


def _json_renderer(mask: Mask) -> Render:
    def render(_: WrappedLogger, __: str, event: EventDict) -> bytes:
        try:
            line = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # such as half a surrogate; a log line must not fail its caller
            line = orjson.dumps({str(name): mask.text(str(value)) for name, value in event.items()})
        return mask.line(line)

    return render


def _console_renderer(mask: Mask) -> Render:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(),
        event_key="message",
        timestamp_key="timestamp",
        exception_formatter=structlog.dev.plain_traceback,  # the others print local variables
        sort_keys=False,
    )

    def render(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        for name in ("keptnService", "logLevel", "triggeredId"):
            event.pop(name, None)
        event = _in_order(event)
        event["level"] = method
        for name, value in event.items():
            # Any of them may quote what came from outside; only tracebacks have several lines.
            event[name] = _printable(value, "\n" if name == "exception" else "")
        event["message"] = str(event["message"]).strip()
        return mask.line(console(logger, method, event).encode("utf-8", "replace"))

    return render


def _in_order(event: EventDict) -> EventDict:
    """What people look for first comes first, and ids last."""
    first = {name: event[name] for name in _FIRST if name in event}
    last = {name: event[name] for name in _LAST if name in event}
    others = {name: event[name] for name in sorted(event.keys() - first.keys() - last.keys())}
    return {**first, **others, **last}


def _printable(value: object, kept: str) -> object:
    """The value, or its text without control characters, except `kept`, which steer terminals."""
    text = value if isinstance(value, str) else repr(value)
    if text.isprintable():
        return value
    return "".join(c if c.isprintable() or c in kept else " " for c in text)


def _capture_foreign_loggers(
    level: int, shared: list[Processor], render: Render, stream: TextIO
) -> None:
    def render_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return render(logger, method, event).decode("utf-8", "replace")

    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_of_the_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render_text],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


class _Sink:
    """A stream whose failures lose lines: a full disk or a closed pipe must not fail the caller."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _name_of_the_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["library"] = event["_record"].name
    return event
