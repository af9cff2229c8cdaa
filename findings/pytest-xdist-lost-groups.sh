#!/usr/bin/env bash
# pytest 9.2.0 with pytest-xdist 3.8.0: `--dist loadgroup` ignores every group.
#
# Guess: tests marked `xdist_group("database")` run one after the other on one worker, or the
#   run says that it can't do that.
# Seen: with pytest 9.1.1 they do. With 9.2.0 they are spread over all workers, without a warning.
#   xdist appends the group to a test's private node id, which pytest 9.2 no longer reads.
# Do: stay below pytest 9.2 while xdist is 3.8, and let one test check that its group holds.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
mkdir "$folder/tests"
cat >"$folder/tests/test_database.py" <<'PY'
import pathlib
import time

import pytest


@pytest.mark.xdist_group("database")
@pytest.mark.parametrize("number", range(8))
def test_database(number, worker_id):
    time.sleep(0.05)
    pathlib.Path(__file__).with_name(f"ran-on-{worker_id}").touch()
PY

workers() { # how many of two workers run the group under this pytest
  "$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
    "pytest==$1" pytest-xdist==3.8.0 execnet==2.1.2
  rm -f "$folder"/tests/ran-on-*
  "$folder/venv/bin/python" -m pytest -q -W error -n 2 --dist loadgroup \
    -p no:cacheprovider -c /dev/null --rootdir "$folder/tests" "$folder/tests" >"$folder/output"
  find "$folder/tests" -name 'ran-on-*' | wc -l
}

before=$(workers 9.1.1)
after=$(workers 9.2.0)
grep passed "$folder/output"
echo "pytest 9.1.1, pytest-xdist 3.8.0: the group ran on $((before)) of 2 workers"
echo "pytest 9.2.0, pytest-xdist 3.8.0: the group ran on $((after)) of 2 workers"
if ((before != 1 || after != 2)); then
  echo "This has changed. Recorded was: 1 worker, then 2." >&2
  exit 1
fi
