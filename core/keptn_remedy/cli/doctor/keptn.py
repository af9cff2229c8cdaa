"""What `remedy doctor` says of the way to Keptn: the distributor, NATS, and Keptn's API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor.examined import Examined
from keptn_remedy.events import TRIGGERED
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api.of_settings import api_of
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.variables import SettingsError

if TYPE_CHECKING:
    from keptn_remedy.keptn.transports.nats_client import OrderedClient

NATS_SECONDS = 5.0
_OPEN = "controlPlane/v1/event/triggered/sh.keptn.event.action.triggered"
_SEQUENCES = "controlPlane/v1/sequence-execution"
_OLD = "it doesn't show what it counted"
_OLD_MEANS = "reports in doubt are sent again; missed triggers are not taken up"


async def way(examined: Examined) -> AsyncIterator[Finding]:
    """Whether Keptn can be asked, and what answers."""
    transport = examined.settings.transport
    if transport in ("local", "standalone"):
        yield Finding("keptn", None, f"REMEDY_TRANSPORT={transport}: there is none")
        return
    if transport == "nats":
        yield await _nats(examined)
    try:
        api = api_of(examined.settings, examined.keptn, Clock(), examined.mask)
    except SettingsError as error:
        yield Finding("keptn", False, error.mistakes[0], "set it")
        return
    try:
        about = "sidecar" if transport == "distributor" else "keptn's API"
        answers = await _api(api, about)
        yield answers
        yield await _version(api, about, is_reached=bool(answers.is_good))
    finally:
        await api.close()


async def _api(api: ApiClient, about: str) -> Finding:
    reply = await api.get(_OPEN, {"pageSize": "1"})
    found = _json(reply.body)
    if reply.status == 200 and is_object(found) and "events" in found:
        return Finding(about, True, f"{api.address} answers for Keptn")
    if reply.status in (401, 403):
        to_do = "check KEPTN_API_TOKEN, or its file"
        return Finding(about, False, f"{api.address} {reply.reason}", to_do)
    to_do = "is the distributor there?" if about == "sidecar" else "check the address and the proxy"
    why = f"{reply.reason}, which is no answer of Keptn's" if reply.status else reply.reason
    return Finding(about, False, f"{api.address}: {why}", f"{to_do} (REMEDY_KEPTN_API)")


async def _version(api: ApiClient, about: str, *, is_reached: bool) -> Finding:
    """Keptn's API gateway tells it; what is behind the gateway, or a distributor, does not."""
    if not is_reached:
        return Finding("keptn", None, "its version can't be told", "see the line above")
    for path in ("v1/metadata", "metadata"):
        found = _json((await api.get(path, {})).body)
        version = found.get("keptnversion") if is_object(found) else None
        if isinstance(version, str) and version:
            return _of_release(version)
    sequences = await api.get(_SEQUENCES, {"project": "keptn-remedy-doctor", "pageSize": "1"})
    # A release that has the path answers 404 in JSON, as it doesn't know that project.
    if sequences.status in (200, 400, 404) and _json(sequences.body) is not None:
        shown = "it shows which reports it counted, and not which release it is"
        return Finding("keptn", True, f"0.18 or newer: {shown}")
    if sequences.status == 404:
        return Finding("keptn", None, f"older than 0.18: {_OLD}", _OLD_MEANS)
    why = f"its version can't be told: {sequences.reason}"
    return Finding("keptn", None, why, "it is 0.17 or older, or a proxy is in between")


def _of_release(version: str) -> Finding:
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < (0, 18):
        return Finding("keptn", None, f"version {version}: {_OLD}", _OLD_MEANS)
    return Finding("keptn", True, f"version {version}")


async def _nats(examined: Examined) -> Finding:
    from nats.errors import Error as NatsError

    from keptn_remedy.keptn.transports.nats_access import options_of
    from keptn_remedy.keptn.transports.nats_client import OrderedClient

    url = examined.keptn.pubsub_url
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error) or type(error).__name__)

    client = OrderedClient()
    try:
        options: dict[str, Any] = dict(options_of(examined.settings, url))
        options |= {"allow_reconnect": False, "connect_timeout": 3, "error_cb": note}
        async with asyncio.timeout(NATS_SECONDS):
            await client.connect(**options)
    except SettingsError as error:
        return Finding("nats", False, error.mistakes[0], "set it")
    except (NatsError, OSError, TimeoutError) as error:
        client.break_off()
        why = errors[0] if errors else str(error) or "no answer"
        to_do = "check PUBSUB_URL and what the server asks for"
        return Finding("nats", False, f"can't connect: {why}", to_do)
    try:
        stream = examined.settings.nats_stream
        return await (_stream(client, stream) if stream else _subscription(client, errors))
    finally:
        with suppress(NatsError, OSError, TimeoutError):
            await client.close()


async def _subscription(client: OrderedClient, errors: Sequence[str]) -> Finding:
    """Whether the server lets us listen; this one takes no event from others, and ends at once."""
    from nats.errors import Error as NatsError

    try:
        ours = await client.subscribe(TRIGGERED)  # pyright: ignore[reportUnknownMemberType]
        await client.flush(timeout=3)
        await ours.unsubscribe()
    except (NatsError, OSError, TimeoutError) as error:
        return Finding("nats", False, f"it went away: {str(error) or 'no answer'}", "try again")
    if errors:
        return Finding("nats", False, errors[0], f"let the user subscribe to {TRIGGERED}")
    to_do = "REMEDY_NATS_STREAM=keptn holds what comes while nobody listens"
    return Finding("nats", True, "connected, without a stream", to_do)


async def _stream(client: OrderedClient, name: str) -> Finding:
    from nats.errors import Error as NatsError

    from keptn_remedy.keptn.transports.nats_client import jetstream_of

    try:
        subjects = (await jetstream_of(client).stream_info(name)).config.subjects or ()
    except (NatsError, OSError, TimeoutError) as error:
        why = str(error) or "no answer"
        return Finding("nats", False, f"the stream {name}: {why}", "check REMEDY_NATS_STREAM")
    if not any(_covers(subject, TRIGGERED) for subject in subjects):
        why = f"the stream {name} holds {', '.join(subjects) or 'no subject'}, and no {TRIGGERED}"
        return Finding("nats", False, why, "check REMEDY_NATS_STREAM")
    return Finding("nats", True, f"connected; the stream {name} is there")


def _covers(pattern: str, subject: str) -> bool:
    """Whether a subject of a stream holds this one: `*` is one word, `>` all that follow."""
    wanted = subject.split(".")
    for number, word in enumerate(pattern.split(".")):
        if word == ">":
            return number < len(wanted)
        if number >= len(wanted) or word not in ("*", wanted[number]):
            return False
    return pattern.count(".") == subject.count(".")


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
