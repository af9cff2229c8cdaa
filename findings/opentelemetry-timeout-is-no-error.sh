#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2: the span of a call that a time-out ends looks like that of a success.
#
# Guess: a span that an exception leaves has the status ERROR and an event with the exception. A
#   call that hangs until `asyncio.timeout` ends it is the first one that a trace should show.
# Seen: a time-out cancels the call, and a CancelledError leaves no trace: the span of the client
#   that hung has the status UNSET and no event, as after a success. Only a span around the time-out
#   itself is an ERROR. A search for failed spans by the name of the client finds none.
# Do: put a span around each time-out, or catch BaseException and set the status.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install opentelemetry-sdk==1.45.2

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

print("opentelemetry-sdk", version("opentelemetry-sdk"))
provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("findings")


async def call(name, does):
    with tracer.start_as_current_span(name):
        await does()


async def works():
    await asyncio.sleep(0)


async def fails():
    raise ConnectionError


async def hangs():
    await asyncio.Event().wait()


async def main():
    await call("works", works)
    try:
        await call("fails", fails)
    except ConnectionError:
        pass
    try:
        with tracer.start_as_current_span("around the time-out"):
            async with asyncio.timeout(0.1):
                await call("hangs", hangs)
    except TimeoutError:
        pass


asyncio.run(main())
seen = {
    span.name: (span.status.status_code.name, [event.name for event in span.events])
    for span in exporter.get_finished_spans()
}
recorded = {
    "works": ("UNSET", []),
    "fails": ("ERROR", ["exception"]),
    "hangs": ("UNSET", []),
    "around the time-out": ("ERROR", ["exception"]),
}
for name, (status, events) in seen.items():
    print(f"{name}: status {status}, events {events}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
