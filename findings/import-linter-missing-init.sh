#!/usr/bin/env bash
# import-linter 2.17: a folder without `__init__.py` is free to break every contract.
#
# Guess: a module that Python can import is a module that the contracts are checked on.
# Seen: Python imports the folder as a namespace package. import-linter leaves it out without a
#   word: the contract is "kept", and the exit code is 0. Only the number of files shows it.
# Do: have a linter demand `__init__.py` in every folder (ruff: rule INP001).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  import-linter==2.17 grimp==3.20

cd "$folder"
mkdir -p shop/web shop/orders/pricing
touch shop/__init__.py shop/orders/__init__.py
echo 'TAX = 19' >shop/web/__init__.py
echo 'from shop.web import TAX' >shop/orders/pricing/rules.py
cat >.importlinter <<'INI'
[importlinter]
root_package = shop
[importlinter:contract:layers]
name = Orders know nothing of the web
type = layers
layers =
    shop.web
    shop.orders
INI

report() { # the lines that count, and the exit code
  local code=0
  venv/bin/lint-imports --no-logo --no-cache >output || code=$?
  grep -E '^(Analyzed|Contracts:)' output
  echo "exit code $code"
}

venv/bin/python -c 'from importlib.metadata import version as v
print("import-linter", v("import-linter"), "grimp", v("grimp"))'
imported=$(venv/bin/python -c 'import shop.orders.pricing.rules as rules; print(rules.TAX)')
without=$(report)
touch shop/orders/pricing/__init__.py
with=$(report)
printf 'Python imports it: %s\n-- without __init__.py\n%s\n-- with it\n%s\n' \
  "$imported" "$without" "$with"

if [[ $imported != 19 || $without != *"1 kept, 0 broken."*"exit code 0" ||
  $with != *"0 kept, 1 broken."*"exit code 1" ]]; then
  echo "This has changed. Recorded was: kept (0) without the file, broken (1) with it." >&2
  exit 1
fi
