"""The ways between Keptn and a provider, for the suites that hold on every transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from keptn_remedy.testing import FakeKeptn
from keptn_remedy.testing.keptn_task import Release
from keptn_remedy.testing.nats_keptn import NatsKeptn
from keptn_remedy.testing.polling_keptn import PollingKeptn
from tests.nats_server import NatsServer


@dataclass(frozen=True)
class Road:
    """One transport, and how a Keptn at its other end is made, whose `environment` leads there.

    `makes_log_entries`: what stands between makes an entry in Keptn's log of each errored
    `finished`.
    """

    name: str
    keptn: Callable[[Release], FakeKeptn]
    makes_log_entries: bool = False


def _distributor(request: pytest.FixtureRequest) -> Road:
    return Road("distributor", FakeKeptn, makes_log_entries=True)


def _nats(request: pytest.FixtureRequest) -> Road:
    server: NatsServer = request.getfixturevalue("nats")
    return Road("nats", lambda release: NatsKeptn(server.url, release))


def _stream(request: pytest.FixtureRequest) -> Road:
    server: NatsServer = request.getfixturevalue("nats")
    return Road("stream", lambda release: NatsKeptn(server.url, release, stream=True))


def _polling(request: pytest.FixtureRequest) -> Road:
    return Road("polling", PollingKeptn)


ROADS: Mapping[str, Callable[[pytest.FixtureRequest], Road]] = {
    "distributor": _distributor,
    "nats": _nats,
    "stream": _stream,
    "polling": _polling,
}
# The stream differs from plain NATS in how events come and reports are confirmed.
USUAL_ROADS = [name for name in ROADS if name != "stream"]
every_road = pytest.mark.parametrize("road", ROADS, indirect=True)
# On these Keptn sends a trigger, perhaps more than once; where it is polled, it only lists it.
every_sending_road = pytest.mark.parametrize(
    "road", [name for name in ROADS if name != "polling"], indirect=True
)
