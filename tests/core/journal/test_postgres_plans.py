"""A long history on PostgreSQL costs what is asked often no more than a short one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from keptn_remedy.journal import Address
from keptn_remedy.journal import postgres_connection as connections
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.effects import executions
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_dialect import translated
from keptn_remedy.journal.postgres_lookups import for_many
from tests.postgres_server import PostgresServer

ROWS = 20_000
HISTORY = f"""
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event,
    state, started_at, finished_at, runs, status, result, reported_at)
SELECT 'id ' || n, 'lane ' || n % 100, 'wait', 'context ' || n, 'sockshop', 'prod', 'carts', n, '',
    'finished', n, n, 1, 'succeeded', 'pass', n
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle,
    leads, admitted_at, ended_at, settled_at, judged)
SELECT n, 'target ' || n % 100, 'act ' || n % 9, 'sockshop', 'stage ' || n % 9, 'carts',
    'context ' || n, TRUE, 0, TRUE, n, n, n, 'helped'
FROM generate_series(1, {ROWS}) AS n;
ANALYZE"""  # noqa: S608  a number
LOOKS = {
    sql.OPEN_AFTER: "executions_open",
    sql.HEADS: "executions_lanes",
    sql.PLANNED_LANES: "executions_planned",
    sql.CLAIMABLE: "executions_pkey",
    sql.UNANNOUNCED: "executions_accepted",
    sql.BEGUN: "executions_begun",
    sql.OPEN_TASKS: "executions_open",
    sql.OPEN_TASKS_OF: "executions_lanes",
    sql.DUE_REPORTS: "reports_due",
    sql.PRUNABLE: "executions_finished",
    sql.LAST: "effects_of_target",
    sql.OF_ACTION: "effects_of_target",
    sql.UNSETTLED: "effects_running",
    f"SELECT count(*) {executions(('target',))}": "effects_of_target",
    f"SELECT count(*) {executions(('action',))}": "effects_of_action",
    f"SELECT count(*) {executions(('project', 'stage'))}": "effects_of_stage",
}

# For all admissions of a batch, with the types of what is bound.
OF_ADMISSIONS = {
    sql.LAST: ("text",),
    sql.OF_ACTION: ("text", "text"),
    sql.UNSETTLED: ("float8",),
    f"SELECT count(*) {executions(('target',))}": ("text", "float8"),
    f"SELECT count(*) {executions(('action',))}": ("text", "float8"),
    f"SELECT count(*) {executions(('project', 'stage'))}": ("text", "text", "float8"),
}


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


async def test_what_is_asked_often_goes_by_an_index(
    postgres: PostgresServer, database: str
) -> None:
    await PostgresJournal.open(Address(database)).close()
    postgres.execute(HISTORY, database)
    with psycopg.connect(database, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(connections._SETTINGS.encode())
        connection.execute("SET plan_cache_mode = force_generic_plan")
        looks = {translated(look).text: index for look, index in LOOKS.items()}
        looks |= {for_many(look, types): LOOKS[look] for look, types in OF_ADMISSIONS.items()}
        for number, (text, index) in enumerate(looks.items()):
            plan = plan_of(connection, text, f"look_{number}")
            assert index in plan, (text, plan)
            assert "Seq Scan" not in plan, (text, plan)


def plan_of(connection: psycopg.Connection[tuple[str, ...]], text: str, name: str) -> str:
    """How the server carries it out, whatever is bound."""
    connection.execute(f"PREPARE {name} AS {text}".encode())
    [(places,)] = connection.execute(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1", (name,)
    ).fetchall()
    given = f"({', '.join(['NULL'] * int(places))})" if places else ""
    lines = connection.execute(f"EXPLAIN (COSTS OFF) EXECUTE {name}{given}".encode()).fetchall()
    return "\n".join(line for (line,) in lines)
