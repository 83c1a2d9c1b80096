# Every command of the project. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: check-python
check-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(BIN)/python: | check-python
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: run
run: $(VENV)/run.stamp ## Set up what is needed and run the sidecar
	$(BIN)/sidecar run $(ARGS)

.PHONY: demo
demo: $(VENV)/run.stamp ## A sample agent through the whole path, and what Langfuse would get
	$(BIN)/sidecar demo

.PHONY: setup
setup: $(VENV)/dev.stamp ## Set up the development environment in .venv

.PHONY: test
test: $(VENV)/dev.stamp ## Set up what is needed and pass the tests (minutes: < 5)
	$(BIN)/python -m pytest -m "not acceptance" $(ARGS)

.PHONY: acceptance
acceptance: $(VENV)/dev.stamp ## Real processes through outages and kills (minutes: < 25)
	$(BIN)/python -m pytest -m acceptance $(ARGS)

.PHONY: lint
lint: $(VENV)/dev.stamp ## Style, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: proto
proto: $(VENV)/dev.stamp ## Generate sidecar/wire/*_pb2.py from proto/
	$(BIN)/python -m scripts.generate_proto

.PHONY: prices
prices: $(VENV)/dev.stamp ## Generate sidecar/enrich/prices.json anew (takes genai-prices' data from the package index)
	$(BIN)/python -m scripts.generate_prices $(ARGS)

.PHONY: docs
docs: $(VENV)/dev.stamp ## Generate docs/configuration.md, docs/metrics.md, docs/trace.svg, the dashboards and the copies in deploy/
	$(BIN)/python -m scripts.generate_docs
	$(BIN)/python -m scripts.draw_trace
	$(BIN)/python -m scripts.generate_dashboards
	$(BIN)/python -m scripts.generate_deploy

.PHONY: simulate
simulate: $(VENV)/dev.stamp ## Show that sampled counts are unbiased; a minute
	$(BIN)/python -m bench.simulate $(ARGS)

.PHONY: bench
bench: $(VENV)/dev.stamp ## Hold CPU a span, memory and answer times against their budgets
	$(BIN)/python -m bench.relay $(ARGS)

.PHONY: soak
soak: $(VENV)/dev.stamp ## Half an hour of load and trouble on the real process: nothing lost, memory flat
	$(BIN)/python -m bench.soak $(ARGS)

.PHONY: simulation
simulation: $(VENV)/dev.stamp ## Thousands of simulated runs with kills, faults and outages
	$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## A minute of fuzzing for each of the parsers, masking and the configuration
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: lock
lock: $(VENV)/dev.stamp ## Resolve the lock files anew
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

.PHONY: clean
clean: ## Remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
