"""Whatever is sent to the event port gets a clear answer and leaves nothing behind."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import HttpUrl

from keptn_remedy import Action, Context, Outcome, service
from keptn_remedy.service import Service
from keptn_remedy.settings import Settings
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.log_lines import LogLines, captured_logs

STRUCTURED = "application/cloudevents+json"
PROBLEM = "application/problem+json"
MEBIBYTE = 1024**2
ANSWER_SECONDS = 10.0

Event = dict[str, Any]
Headers = tuple[tuple[str, str], ...]


class Note(Action):
    """Does nothing, and says so."""

    name = "note"

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed("noted")


@dataclass(frozen=True)
class Answer:
    """An HTTP response. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Posted:
    """What is posted; several lines of one name are sent as they are."""

    body: bytes
    headers: Headers = (("Content-Type", STRUCTURED),)
    chunked: bool = False

    def __repr__(self) -> str:
        return f"Posted({self.body[:2000]!r} of {len(self.body)}, {self.headers}, {self.chunked})"

    @property
    def wire(self) -> bytes:
        framing = (
            "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(self.body)}"
        )
        lines = [b"POST / HTTP/1.1", b"Host: localhost", b"Connection: close", framing.encode()]
        lines += [
            f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in self.headers
        ]
        return b"\r\n".join((*lines, b"", _in_chunks(self.body) if self.chunked else self.body))


def _in_chunks(body: bytes, size: int = 65_521) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Provider:
    """The running service, and a raw connection to its event port."""

    def __init__(self, running: Service, keptn: FakeKeptn, log: LogLines) -> None:
        self.service = running
        self.keptn = keptn
        self.log = log

    async def exchange(self, wire: bytes) -> Answer | None:
        """Send these bytes on a connection of their own; None when it is closed in silence."""
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.service.event_port)
            try:
                writer.write(wire)
                received = await reader.read()
            except ConnectionError:
                return None
            finally:
                writer.close()
        return _parsed(received) if received else None

    async def post(self, posted: Posted) -> Answer:
        answer = await self.exchange(posted.wire)
        assert answer is not None, "the connection was closed without an answer"
        return answer

    async def post_event(self, event: Event) -> Answer:
        return await self.post(Posted(json.dumps(event).encode()))

    async def executions(self) -> int:
        return len(await self.service.journal.records(limit=500))


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, _, header_lines = head.partition(b"\r\n")
    fields = BytesHeaderParser().parsebytes(header_lines)
    headers = {name.lower(): str(value) for name, value in fields.items()}
    return Answer(int(status_line.split()[1]), headers, body)


@pytest.fixture
def log() -> Iterator[LogLines]:
    with captured_logs() as lines:
        yield lines


@pytest.fixture
async def provider(tmp_path: Path, log: LogLines) -> AsyncIterator[Provider]:
    """A provider that must still serve after the test as before."""
    async with FakeKeptn() as keptn:
        config = Settings(
            port=0,
            ops_port=0,
            event_url=HttpUrl(keptn.event_url),
            journal=tmp_path / "journal.db",
            finished_after_seconds=0,
        )
        async with service.running(config, registry_of(Note)) as running:
            provider = Provider(running, keptn, log)
            yield provider
            await _serves_as_before(provider)


async def _serves_as_before(provider: Provider) -> None:
    event = triggered("note")
    port = provider.service.event_port
    assert (await provider.keptn.deliver(event, to=f"http://127.0.0.1:{port}/")).status == 202
    await provider.keptn.task_finished(event["id"])
    assert not [line for line in provider.log.all if "exception" in line]


def good() -> Event:
    """A trigger of `note`, the same each time."""
    event = triggered("note", id="f2b878d3-03c0-4e8f-bc3f-454bc1b3d79d")
    event["shkeptncontext"] = "08735340-6f9e-4b32-97ff-3b6c292bc509"
    return event


def without(name: str, event: Event | None = None) -> Event:
    return {key: value for key, value in (event or good()).items() if key != name}


def binary(event: Event, body: bytes | None = None) -> Posted:
    """The event in binary mode."""
    fields = [(f"ce-{name}", str(value)) for name, value in without("data", event).items()]
    content = json.dumps(event["data"]).encode() if body is None else body
    return Posted(content, (("Content-Type", "application/json"), *fields))


async def refuses(provider: Provider, answer: Answer | None, *statuses: int) -> None:
    """The answer is a problem that says what is wrong; nothing is stored, nothing is sent."""
    assert answer is not None
    assert answer.status in statuses, answer
    assert answer.headers["content-type"].partition(";")[0] == PROBLEM
    problem = answer.json
    assert problem["status"] == answer.status
    assert problem["title"].strip()
    assert "Traceback" not in problem["title"]
    await leaves_nothing(provider)


async def leaves_nothing(provider: Provider) -> None:
    assert await provider.executions() == 0
    assert provider.keptn.posts == 0


def one_warning(log: LogLines, message: str) -> dict[str, Any]:
    """The only line above `info`."""
    (line,) = log.at("WARNING", "ERROR")
    assert (line["logLevel"], line["message"]) == ("WARNING", message)
    return line


# Anything at all

REQUIRED = ("specversion", "id", "source", "type")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
texts = st.text(max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
no_texts = st.sampled_from([None, "", 0, 5, -1.5, True, [], {}, ["text"], {"text": "text"}])


def changed(path: str, value: Any) -> Event:
    """The good trigger with one field changed; `...` takes it out."""
    event = good()
    *parents, name = path.split(".")
    fields = event
    for parent in parents:
        fields = fields[parent]
    if value is ...:
        del fields[name]
    else:
        fields[name] = value
    return event


def _is_not_the_action(name: str) -> bool:
    return name.strip().lower().replace("-", "").replace("_", "") != Note.name


unusable_events = st.one_of(
    st.builds(changed, st.sampled_from(REQUIRED), no_texts | st.just(...)),
    st.builds(
        changed, st.just("specversion"), texts.filter(lambda v: v not in ("1.0", "0.3", "0.2"))
    ),
    st.builds(changed, st.just("time"), texts.filter(lambda t: t and not RFC3339.fullmatch(t))),
    st.builds(changed, st.just("time"), st.integers() | st.booleans() | st.just([])),
    st.builds(changed, st.just("type"), texts),
    st.builds(changed, st.just("shkeptncontext"), no_texts | st.just(...)),
    st.builds(changed, st.sampled_from(["id", "shkeptncontext"]), st.just("x" * 1025)),
    st.builds(changed, st.just("data"), json_values | st.just(...)),
    st.builds(
        changed,
        st.sampled_from(["data.project", "data.stage", "data.service"]),
        no_texts | st.just(...) | st.just("x" * 1025),
    ),
    st.builds(changed, st.just("data.action"), json_values | st.just(...)),
    st.builds(changed, st.just("data.action.action"), no_texts | texts.filter(_is_not_the_action)),
)


def _encoded(event: Event, encoding: str) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode(encoding, "surrogatepass")


def _with_bytes(at: int, foreign: bytes) -> bytes:
    body = json.dumps(good()).encode()
    return body[: at % len(body)] + foreign + body[at % len(body) :]


def _cut(at: int) -> bytes:
    body = json.dumps(good()).encode()
    return body[: at % len(body)]


def _nested(opening: str, depth: int) -> bytes:
    body = json.dumps(changed("data.action.value", "deep"))
    return body.replace('"deep"', opening * depth).encode()


def _huge(filler: bytes, excess: int) -> bytes:
    body = json.dumps(changed("data.filler", "filler")).encode()
    times = (MEBIBYTE + excess) // len(filler) + 1
    return body.replace(b'"filler"}', b'"' + filler * times + b'"}')


broken_bodies = st.one_of(
    st.builds(_encoded, unusable_events, st.just("utf-8")),
    st.builds(_encoded, unusable_events, st.just("utf-8")),  # twice as often as what follows
    st.builds(_encoded, st.builds(good), st.sampled_from(["utf-16", "utf-32-le", "utf-8-sig"])),
    st.builds(lambda: _encoded(changed("data.project", "größer"), "latin-1")),
    st.builds(_with_bytes, st.integers(0), st.sampled_from([b"\0", b"\xff", b"\x01", b"\x1b[2J"])),
    st.builds(_cut, st.integers(0)),
    st.builds(_nested, st.sampled_from(["[", '{"a":', "[{"]), st.integers(1, 50_000)),
    st.builds(lambda value: json.dumps(value).encode(), json_values),
    st.sampled_from([b"", b"{}", b"[]", b"null", b"NaN", b'{"id": NaN}', b"{" * 100, b"\0" * 100]),
    st.builds(lambda times: json.dumps(good()).encode() * times, st.integers(2, 4)),
    st.binary(max_size=300),
)
huge_bodies = st.builds(
    _huge, st.sampled_from([b"x", b"\\u0000", "€".encode()]), st.integers(0, 5_000)
)
media_types = st.just(STRUCTURED) | st.sampled_from(
    [
        STRUCTURED,
        STRUCTURED + "; charset=utf-8",
        STRUCTURED + "; charset=utf-16",
        "application/json",
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
        "\0",
    ]
)
header_values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    st.text(st.characters(min_codepoint=160, codec="utf-8"), max_size=30),
    st.sampled_from(["\udcff", "a\0b", "a\tb", "\x1b[2J", "%00", "%ff%fe", "%0d%0aX: y", "\x7f"]),
)
no_headers: list[tuple[str, str]] = []
odd_headers = st.just(no_headers) | st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                ["ce-id", "ce-time", "ce-specversion", "ce-type", "CE-ID", "ce-", "ce-a_b"]
            ),
            header_values,
        ),
        st.tuples(
            st.sampled_from(["X-Any", "Accept", "traceparent", "Cookie", "Via"]), header_values
        ),
        st.sampled_from(
            [
                ("Expect", "100-continue"),
                ("Content-Type", "application/json"),
                ("Accept", "text/html"),
                ("Authorization", "x" * 9_000),
                ("Accept-Encoding", "gzip"),
                ("Content-Encoding", "gzip"),
                ("Content-Encoding", "identity"),
                ("Content-Encoding", "br"),
                ("Content-Encoding", "nonsense"),
            ]
        ),
    ),
    max_size=3,
)


def _squeezed(posted: Posted, way: str) -> Posted:
    body = gzip.compress(posted.body) if way == "gzip" else zlib.compress(posted.body)
    return Posted(body, (*posted.headers, ("Content-Encoding", way)), posted.chunked)


def _structured(
    body: bytes, media_type: str, odd: list[tuple[str, str]], *, chunked: bool
) -> Posted:
    return Posted(body, (("Content-Type", media_type), *odd), chunked)


def _broken_binary(name: str, value: str, odd: list[tuple[str, str]]) -> Posted:
    """In binary mode, with one attribute taken out or replaced by what it can't be."""
    event = without(name)
    fields = [(f"ce-{key}", str(text)) for key, text in without("data", event).items()]
    if value and name != "type":
        fields.append((f"ce-{name}", f" {value} " if name == "specversion" else ""))
    fields = [(key, text) for key, text in odd if not key.lower().startswith("ce-")] + fields
    return Posted(
        json.dumps(good()["data"]).encode(), (("Content-Type", "application/json"), *fields)
    )


def _binary(body: bytes, media_type: str, odd: list[tuple[str, str]]) -> Posted:
    """In binary mode, with a body that is no `data` of a trigger."""
    fields = tuple((key, text) for key, text in binary(good()).headers if key != "Content-Type")
    return Posted(body, (("Content-Type", media_type), *fields, *odd))


no_data = st.one_of(
    st.builds(_cut, st.integers(0)),
    st.binary(max_size=100),
    st.builds(lambda value: json.dumps(value).encode(), json_values),
)
plain_posts = st.one_of(
    st.builds(_structured, broken_bodies, media_types, odd_headers, chunked=st.booleans()),
    # Their headers are good: what isn't HTTP is hung up on, and then may not hear the answer.
    st.builds(
        _structured, huge_bodies, st.just(STRUCTURED), st.just(no_headers), chunked=st.booleans()
    ),
    st.builds(_broken_binary, st.sampled_from(REQUIRED), texts, odd_headers),
    st.builds(_binary, no_data, media_types, odd_headers),
)
bad_posts = plain_posts | st.builds(_squeezed, plain_posts, st.sampled_from(["gzip", "deflate"]))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a huge body that failed
@settings(
    max_examples=2000,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(posted=bad_posts)
async def test_bad_input_is_refused_and_harms_nothing(provider: Provider, posted: Posted) -> None:
    answer = await provider.post(posted)
    if answer.status == 200:
        assert answer.json["ignored"]
        await leaves_nothing(provider)
    else:
        await refuses(provider, answer, 400, 413, 415)


# What is no CloudEvent

NO_CLOUD_EVENTS = {
    "no id": (changed("id", ...), "id"),
    "no source": (changed("source", ...), "source"),
    "no type": (changed("type", ...), "type"),
    "no specversion": (changed("specversion", ...), "specversion"),
    "null id": (changed("id", None), "id"),
    "empty id": (changed("id", ""), "id"),
    "number as id": (changed("id", 5), "id"),
    "list as source": (changed("source", []), "source"),
    "empty type": (changed("type", ""), "type"),
    "specversion 2.0": (changed("specversion", "2.0"), "specversion"),
    "specversion 1": (changed("specversion", "1"), "specversion"),
    "number as specversion": (changed("specversion", 1.0), "specversion"),
    "list as specversion": (changed("specversion", []), "specversion"),
    "time without zone": (changed("time", "2026-01-01T00:00:00"), "time"),
    "date as time": (changed("time", "2026-01-01"), "time"),
    "word as time": (changed("time", "yesterday"), "time"),
    "number as time": (changed("time", 1767225600), "time"),
    "digits as time": (changed("time", "1767225600"), "time"),
    "leap second": (changed("time", "2026-12-31T23:59:60Z"), "time"),
    "data twice": (changed("data_base64", "e30="), "data_base64"),
}


@pytest.mark.parametrize(("event", "attribute"), NO_CLOUD_EVENTS.values(), ids=NO_CLOUD_EVENTS)
async def test_a_wrong_attribute_is_400_and_named(
    provider: Provider, event: Event, attribute: str
) -> None:
    answer = await provider.post_event(event)
    await refuses(provider, answer, 400)
    assert answer.json["attribute"] == attribute
    assert attribute.partition("_")[0] in answer.json["title"]
    assert one_warning(provider.log, "not a CloudEvent")["detail"] == answer.json["title"]


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
async def test_an_attribute_missing_in_binary_mode_is_400_and_named(
    provider: Provider, name: str
) -> None:
    answer = await provider.post(binary(without(name)))
    await refuses(provider, answer, 400)
    assert answer.json["attribute"] == name


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "%ff", "é"])
async def test_a_wrong_time_in_binary_mode_is_400_and_named(provider: Provider, time: str) -> None:
    answer = await provider.post(binary(changed("time", time)))
    await refuses(provider, answer, 400)
    assert answer.json["attribute"] == "time"


NO_EVENTS = {
    "empty": b"",
    "no JSON": b"action.triggered",
    "cut off": json.dumps(good()).encode()[:-1],
    "two events": json.dumps(good()).encode() * 2,
    "text": b'"an event"',
    "null": b"null",
    "NaN": b'{"specversion": "1.0", "id": NaN}',
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(good()).encode(),
    "latin-1": json.dumps(changed("data.project", "größer"), ensure_ascii=False).encode("latin-1"),
    "utf-16": json.dumps(good()).encode("utf-16"),
    "NUL in a text": json.dumps(good()).replace("sockshop", "sock\0shop").encode(),
    "half a surrogate": json.dumps(changed("data.project", "\ud800")).encode(),
    "100,000 lists": b"[" * 100_000,
    "100,000 maps": b'{"a":' * 100_000,
    "deep value": json.dumps(changed("data.action.value", 5))
    .replace(": 5", ": " + "[" * 5_000 + "]" * 5_000)
    .encode(),
}


@pytest.mark.parametrize("body", NO_EVENTS.values(), ids=NO_EVENTS)
@pytest.mark.parametrize("media_type", [STRUCTURED, "application/json"])
async def test_a_body_that_is_no_event_is_400(
    provider: Provider, body: bytes, media_type: str
) -> None:
    answer = await provider.post(Posted(body, (("Content-Type", media_type),)))
    await refuses(provider, answer, 400)
    assert "body" in answer.json["title"]
    one_warning(provider.log, "not a CloudEvent")


async def test_broken_data_in_binary_mode_is_400(provider: Provider) -> None:
    await refuses(provider, await provider.post(binary(good(), body=b'{"project": ')), 400)


async def test_bytes_that_are_no_utf_8_in_a_header_are_400(provider: Provider) -> None:
    answer = await provider.post(binary(changed("id", "\udcff")))
    await refuses(provider, answer, 400)
    assert answer.json["attribute"] == "id"


@pytest.mark.parametrize(
    "posted",
    [
        Posted(b"[]"),
        Posted(json.dumps([good()]).encode()),
        Posted(b"[]", (("Content-Type", "application/cloudevents-batch+json"),)),
        Posted(b"[]", (("Content-Type", "application/json"),)),
        Posted(json.dumps(good()).encode(), (("Content-Type", "text/plain"),)),
        Posted(json.dumps(good()).encode(), ()),
        Posted(b"", (("Content-Type", "application/cloudevents+protobuf"),)),
    ],
    ids=repr,
)
async def test_batches_and_what_is_neither_mode_are_415(provider: Provider, posted: Posted) -> None:
    await refuses(provider, await provider.post(posted), 415)
    one_warning(provider.log, "not a CloudEvent")


def padded(length: int) -> bytes:
    """A good event of exactly that length."""
    body = json.dumps(changed("data.padding", "")).encode()
    return body.replace(b'"padding": "', b'"padding": "' + b"x" * (length - len(body)))


TOO_LONG = padded(MEBIBYTE + 1)
SQUEEZED: Headers = (("Content-Type", STRUCTURED), ("Content-Encoding", "gzip"))


@pytest.mark.parametrize(
    "posted",
    {
        "plain": Posted(TOO_LONG),
        "chunked": Posted(TOO_LONG, chunked=True),
        "10 MiB": Posted(padded(10 * MEBIBYTE)),
        "gzip": Posted(gzip.compress(TOO_LONG), SQUEEZED),
        "gzip, chunked": Posted(gzip.compress(TOO_LONG), SQUEEZED, chunked=True),
        "gzip of 100 MiB": Posted(gzip.compress(bytes(100 * MEBIBYTE)), SQUEEZED),
    }.values(),
    ids=["plain", "chunked", "10 MiB", "gzip", "gzip, chunked", "gzip of 100 MiB"],
)
async def test_more_than_a_mebibyte_is_413_also_after_decompression(
    provider: Provider, posted: Posted
) -> None:
    await refuses(provider, await provider.post(posted), 413)
    one_warning(provider.log, "not a CloudEvent")


async def test_what_claims_to_be_gzip_and_is_not_is_400(provider: Provider) -> None:
    await refuses(provider, await provider.post(Posted(b"no gzip", SQUEEZED)), 400)
    one_warning(provider.log, "not a CloudEvent")


# Other requests


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("path", ["/", "/elsewhere"])
async def test_other_methods_are_405_and_told_to_post(
    provider: Provider, method: str, path: str
) -> None:
    wire = Posted(b"").wire.replace(b"POST /", f"{method} {path}".encode(), 1)
    answer = await provider.exchange(wire)
    assert answer is not None
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == PROBLEM
    await leaves_nothing(provider)


@pytest.mark.parametrize("path", ["/elsewhere", "/event", "//", "/..", "/%2e", "/\\", "/%00"])
async def test_other_paths_are_404(provider: Provider, path: str) -> None:
    body = json.dumps(good()).encode()
    wire = Posted(body).wire.replace(b"POST /", f"POST {path}".encode(), 1)
    await refuses(provider, await provider.exchange(wire), 404)


GARBAGE = {
    "words": b"hello there\r\n\r\n",
    "NULs": b"\0" * 1_000,
    "TLS": bytes.fromhex("16030100c2010000be0303") + b"\xab" * 100 + b"\r\n\r\n",
    "newlines": b"\r\n" * 50 + b"x\r\n\r\n",
    "HTTP/9.9": b"POST / HTTP/9.9\r\n\r\n",
    "endless request line": b"POST /" + b"x" * 100_000,
    "endless header": b"POST / HTTP/1.1\r\nX: " + b"x" * 100_000,
    "a thousand headers": b"POST / HTTP/1.1\r\n" + b"X: x\r\n" * 1_000 + b"\r\n",
    "header without colon": b"POST / HTTP/1.1\r\nHost provider\r\n\r\n",
    "control character in a header": b"POST / HTTP/1.1\r\nHost: a\x01b\r\n\r\n",
    "folded header": b"POST / HTTP/1.1\r\nHost: localhost\r\n b\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "word as length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "wrong chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
    "unknown transfer": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: pigeon\r\n\r\n",
    "two content types": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("wire", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_http_is_400_and_no_traceback(provider: Provider, wire: bytes) -> None:
    await refuses(provider, await provider.exchange(wire), 400)
    one_warning(provider.log, "not a CloudEvent")


@pytest.mark.parametrize("length", [0, 1, 20, 200, -1])
async def test_a_client_that_leaves_in_the_middle_is_forgotten(
    provider: Provider, length: int
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", provider.service.event_port)
    writer.write(Posted(json.dumps(good()).encode()).wire[:length])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await leaves_nothing(provider)


# CloudEvents that nobody could answer

UNUSABLE = {
    "another type": (changed("type", "sh.keptn.event.deployment.changed"), "type"),
    "an answer": (changed("type", "sh.keptn.event.action.finished"), "type"),
    "no context": (changed("shkeptncontext", ...), "shkeptncontext"),
    "empty context": (changed("shkeptncontext", ""), "shkeptncontext"),
    "number as context": (changed("shkeptncontext", 5), "shkeptncontext"),
    "context without case": (
        {**changed("shkeptncontext", ...), "shkeptnContext": "a context"},
        "shkeptncontext",
    ),
    "endless id": (changed("id", "x" * 1025), "id"),
    "no data": (changed("data", ...), "data"),
    "null data": (changed("data", None), "data"),
    "list as data": (changed("data", []), "data"),
    "text as data": (changed("data", json.dumps(good()["data"])), "data"),
    "empty data": (changed("data", {}), "data.project"),
    "broken base64": ({**changed("data", ...), "data_base64": "!"}, "data"),
    "base64": ({**changed("data", ...), "data_base64": "e30="}, "data"),
    "no project": (changed("data.project", ...), "data.project"),
    "empty stage": (changed("data.stage", ""), "data.stage"),
    "number as service": (changed("data.service", 5), "data.service"),
    "endless project": (changed("data.project", "x" * 1025), "data.project"),
    "no action": (changed("data.action", ...), "data.action"),
    "text as action": (changed("data.action", "note"), "data.action"),
    "number as action name": (changed("data.action.action", 5), "data.action.action"),
}


@pytest.mark.parametrize(("event", "named"), UNUSABLE.values(), ids=UNUSABLE)
async def test_an_unusable_event_is_ignored_with_the_reason(
    provider: Provider, event: Event, named: str
) -> None:
    answer = await provider.post_event(event)
    assert answer.status == 200
    assert named in answer.json["ignored"]
    assert one_warning(provider.log, "event ignored")["reason"] == answer.json["ignored"]
    await leaves_nothing(provider)


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", ""])
@pytest.mark.parametrize("body", [b"", b"text", b"\xff\xfe", b"\0"])
async def test_data_that_is_no_json_is_ignored_in_binary_mode(
    provider: Provider, media_type: str, body: bytes
) -> None:
    fields = tuple(field for field in binary(good()).headers if field[0] != "Content-Type")
    answer = await provider.post(Posted(body, (("Content-Type", media_type), *fields)))
    if media_type or not body:
        assert (answer.status, answer.json) == (200, {"ignored": "data must be an object"})
        one_warning(provider.log, "event ignored")
    else:
        await refuses(provider, answer, 400)  # without a type it is JSON
    await leaves_nothing(provider)


@pytest.mark.parametrize("name", ["somebody-elses", "", "   ", "note\0", "nöte"])
async def test_an_action_that_is_not_ours_is_ignored_quietly(provider: Provider, name: str) -> None:
    answer = await provider.post_event(changed("data.action.action", name))
    assert answer.status == 200
    assert answer.json["ignored"].startswith(
        ("there is no action", "data.action.action is missing")
    )
    assert not provider.log.at("WARNING", "ERROR")
    assert len(provider.log.saying("event ignored")) == 1
    await leaves_nothing(provider)


async def test_a_task_that_is_not_ours_is_ignored_quietly(provider: Provider) -> None:
    answer = await provider.post_event(changed("type", "sh.keptn.event.deployment.triggered"))
    assert (answer.status, "deployment" in answer.json["ignored"]) == (200, True)
    assert not provider.log.at("WARNING", "ERROR")
    await leaves_nothing(provider)


# What looks odd, and is good

GOOD = {
    "stray ce- header": Posted(
        json.dumps(good()).encode(), (("Content-Type", STRUCTURED), ("ce-id", "a mesh's own"))
    ),
    "charset": Posted(
        json.dumps(good()).encode(), (("Content-Type", f"{STRUCTURED}; charset=utf-8"),)
    ),
    "media type in capitals": Posted(
        json.dumps(good()).encode(), (("Content-Type", STRUCTURED.upper()),)
    ),
    "application/json": Posted(
        json.dumps(good()).encode(), (("Content-Type", "application/json"),)
    ),
    "binary": binary(good()),
    "gzip": Posted(gzip.compress(json.dumps(good()).encode()), SQUEEZED),
    "chunked": Posted(json.dumps(good()).encode(), chunked=True),
    "a mebibyte": Posted(padded(MEBIBYTE)),
    "specversion 0.3": Posted(json.dumps(changed("specversion", "0.3")).encode()),
    "extensions of others": Posted(
        json.dumps({**good(), "contentType": "x", "sh_keptn": 1, "nested": {}, "n": None}).encode()
    ),
    "nothing as subject": Posted(
        json.dumps({**good(), "subject": "", "dataschema": None}).encode()
    ),
    "no time": Posted(json.dumps(changed("time", ...)).encode()),
    "null time": Posted(json.dumps(changed("time", None)).encode()),
    "nanoseconds": Posted(json.dumps(changed("time", "2026-01-01T00:00:00.123456789Z")).encode()),
    "lower case": Posted(json.dumps(changed("time", "2026-01-01t00:00:00z")).encode()),
    "binary, nanoseconds": binary(changed("time", "2026-01-01T00:00:00.123456789Z")),
    "binary, lower case": binary(changed("time", "2026-01-01t00:00:00+02:00")),
    "two of a key": Posted(json.dumps(good()).replace('{"spec', '{"id": "x", "spec', 1).encode()),
    "control characters": Posted(json.dumps(changed("data.service", "a\nb\x1b[2J\0")).encode()),
}


@pytest.mark.parametrize("posted", GOOD.values(), ids=GOOD)
async def test_a_good_event_is_taken_however_it_is_dressed(
    provider: Provider, posted: Posted
) -> None:
    answer = await provider.post(posted)
    assert (answer.status, answer.json) == (202, {"execution": good()["id"]})
    await provider.keptn.wait_until(lambda: len(provider.keptn.finished(good()["id"])) == 1)
    assert len(provider.keptn.started(good()["id"])) == 1
    assert await provider.executions() == 1
    assert not provider.log.at("WARNING", "ERROR")


async def test_an_event_of_old_is_answered_in_its_own_words(provider: Provider) -> None:
    event = changed("specversion", "0.2")
    url = f"http://127.0.0.1:{provider.service.event_port}/"
    assert (await provider.keptn.deliver(event, to=url)).status == 202
    await provider.keptn.task_finished(event["id"])
    assert {report.event["specversion"] for report in provider.keptn.received} == {"0.2"}


async def test_digits_without_end_harm_nothing(provider: Provider) -> None:
    body = json.dumps(changed("data.action.value", 5)).replace(": 5", ": " + "9" * 5_000)
    answer = await provider.post(Posted(body.encode()))
    assert answer.status in (202, 400)
