"""Sends a call once: what its answer means, and whether another try may help."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import ClientConnectorError, ClientError, ConnectionTimeoutError

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.http_calls import Call
from keptn_remedy_actions.http_calls.client import Answer, Client
from keptn_remedy_actions.http_calls.json_path import value_at
from keptn_remedy_actions.http_calls.rendering import Rendered

_LONGEST_QUOTE = 200
_LONGEST_DELAY_SECONDS = 300.0


class NotTaken(TemporaryError):
    """The request had no effect, and may succeed later."""


class Uncertain(TemporaryError):
    """The request may have had its effect."""


class Unexpected(PermanentError):
    """The answer is not what the call expects. The request may have had its effect."""


class Refused(Unexpected):
    """The answer says that the request had none."""


async def send(client: Client, call: Call, made: Rendered) -> Answer:
    """Send the request, and check that the answer is as expected.

    Raises:
        NotTaken, Uncertain: another attempt may succeed.
        Refused, Unexpected: the answer is another one.
        Denied: the request would reach what it must not.
    """
    try:
        answer = await client.send(made.request)
    except Denied as error:
        # A template may have put a secret into the name of the host.
        raise Denied(made.shown(str(error))) from None
    except (ClientConnectorError, ConnectionTimeoutError) as error:
        raise NotTaken(f"{place_of(made)} can't be reached: {_why(error)}") from None
    except ValueError as error:  # of the request
        raise PermanentError(f"{place_of(made)} can't be asked: {type(error).__name__}") from None
    except (ClientError, TimeoutError) as error:  # also an answer that is cut, or no HTTP
        raise Uncertain(f"{place_of(made)} gave no answer: {_why(error)}") from None
    if contrary := contradiction(call, made, answer):
        raise _failure(f"{place_of(made)} {contrary}", answer)
    return answer


def contradiction(call: Call, made: Rendered, answer: Answer) -> str:
    """What about the answer is not as expected; empty where it is."""
    if not call.expect.has(answer.status):
        expected = " or ".join(call.expect.status)
        to = ", a redirect, which is not followed" if answer.status in range(300, 400) else ""
        body = _quote(made.shown(answer.body.decode("utf-8", "replace")))
        said = f": {body}" if body and not to else ""
        return f"answered {answer.status}{to}, and {expected} was expected{said}"
    if not call.expect.json_values:
        return ""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return f"answered {answer.status} without JSON"
    return "; ".join(_differences(call.expect.json_values, document, made))


def place_of(made: Rendered) -> str:
    """Method and address, without a query, which may hold secrets."""
    url = made.request.url.with_query(None).with_fragment(None)
    return f"{made.request.method} {made.shown(str(url))[:200]}"


def _differences(wanted: Mapping[str, Any], document: Any, made: Rendered) -> list[str]:
    found = {path: value_at(path, document) for path in wanted}
    return [
        f"has {_quote(made.shown(_text(found[path])))} at {path}, and {_text(each)} was expected"
        for path, each in wanted.items()
        if isinstance(found[path], bool) != isinstance(each, bool) or found[path] != each
    ]


def _failure(said: str, answer: Answer) -> Exception:
    delay = None
    if answer.retry_after.isascii() and answer.retry_after.isdigit():
        delay = min(float(answer.retry_after), _LONGEST_DELAY_SECONDS)
    # After any other failure the request may have had its effect. A proxy answers 503, too, when
    # what is behind it breaks off, and tells no time to come back.
    if answer.status in {425, 429} or (answer.status == 503 and answer.retry_after):
        return NotTaken(said, delay)
    if answer.status >= 500 or answer.status == 408:
        return Uncertain(said, delay)
    # With 2xx it was taken, whatever else the answer says.
    return Unexpected(said) if answer.status < 300 else Refused(said)


def _text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


def _quote(text: str) -> str:
    """An excerpt of what a peer sent, in one printable line."""
    line = "".join(each if each.isprintable() else " " for each in text[: 2 * _LONGEST_QUOTE])
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_QUOTE else f"{line[: _LONGEST_QUOTE - 1]}…"


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "it took too long"
    cause = getattr(error, "os_error", None)
    return (cause and cause.strerror) or type(error).__name__
