import signal

import psycopg
import pytest

from tests.postgres_server import PostgresServer, postgres_available


@pytest.mark.skipif(bool(postgres_available()), reason=str(postgres_available()))
async def test_a_server_keeps_what_it_took_when_it_is_killed() -> None:
    server = PostgresServer()
    try:
        await server.start()
        url = server.create_database()
        server.execute("CREATE TABLE kept (number INT)", url)
        server.execute("INSERT INTO kept VALUES (1)", url)

        server.stop(signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            server.execute("SELECT number FROM kept", url)
        await server.start()

        assert server.execute("SELECT number FROM kept", url) == [(1,)]
    finally:
        server.remove()
    assert not server.folder.exists()


async def test_a_database_is_gone_when_it_was_dropped(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    assert postgres.execute("SELECT 1", url) == [(1,)]
    postgres.drop_database(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        postgres.execute("SELECT 1", url)
