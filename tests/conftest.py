"""Fixtures for all tests."""

import logging
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import pytest_asyncio
import structlog

from keptn_remedy.cli import server
from keptn_remedy.cli.usage import AS_JSON
from tests.left_out import LeftOut
from tests.monitoring import AlertmanagerProgram, monitoring_missing
from tests.nats_server import NatsServer
from tests.postgres_server import PostgresServer, postgres_available
from tests.providing import Dial, Greet
from tests.roads import ROADS, USUAL_ROADS, Road
from tests.unleash_server import RunningUnleash, start_unleash, unleash_available


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LeftOut(config))
    # How long an example takes says more about what else runs on the machine than about our code.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("ours", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("ours")


@pytest.hookimpl(tryfirst=True)  # xdist reads its marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One worker runs all tests that use Unleash, so that there is one server.
    for item in items:
        if "unleash" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("unleash"))


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """The actions that many tests share begin each test anew, whichever tests ran before it."""
    Greet.greeted.clear()
    Dial.state.clear()
    Dial.log.clear()


@pytest.fixture(autouse=True)
def _output_as_before() -> Iterator[None]:
    """How a command or a service of this process logs and complains ends with the test, and so does
    which service a command asks.
    """
    root = logging.getLogger()
    level = root.level
    yield
    AS_JSON.set(False)
    server._OPTIONS.set({})
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.setLevel(level)
    ours = structlog.stdlib.ProcessorFormatter
    root.handlers = [one for one in root.handlers if not isinstance(one.formatter, ours)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def unleash(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningUnleash]:
    """A real Unleash server, one for all tests; each test makes flags of its own."""
    if reason := unleash_available():
        pytest.skip(reason)
    server = await start_unleash(tmp_path_factory.mktemp("unleash"))
    try:
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A real NATS server, one for all tests that leave it as they found it."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    await server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    """A real PostgreSQL, one for all tests that leave it running; each has a database of its own,
    or empties what it used.
    """
    if reason := postgres_available():
        pytest.skip(reason)
    server = PostgresServer()
    try:
        await server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def alertmanager_program() -> Iterator[AlertmanagerProgram]:
    """Debian's Alertmanager. Who asks for it may start Prometheus too."""
    if reason := monitoring_missing():
        pytest.skip(reason)
    program = AlertmanagerProgram()
    yield program
    program.remove()


@pytest.fixture(params=USUAL_ROADS)
def road(request: pytest.FixtureRequest) -> Road:
    """The ways between Keptn and a provider, in turn."""
    return ROADS[request.param](request)
