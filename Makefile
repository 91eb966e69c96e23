# Two commands matter to a newcomer: `make demo` and `make test`. Both do all set-up themselves.
# State lies in .venv (from hashed locks) and in ${LOCKSTEP_CACHE:-~/.cache/lockstep} (binaries).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_DIR ?= .lockstep

.DEFAULT_GOAL := help
.PHONY: help setup parts demo demo-down test test-all check lint types imports bench clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements/dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --no-index -e .
	$(BIN)/python -m compileall -q $(VENV)/lib || true
	@touch $@

setup: $(STAMP) ## The virtual environment, from hashed locks

parts: $(STAMP) ## External binaries that tests and demo run (cached, built once with Go)
	$(BIN)/python -m infra.dev.parts temporal
	$(BIN)/python -m infra.dev.parts versitygw

demo: $(STAMP) ## The main job on the embedded stack; leaves the stack running
	$(BIN)/client demo --dir $(DEMO_DIR)

demo-down: $(STAMP) ## Stop the demo's stack and remove its files
	$(BIN)/client demo --down --dir $(DEMO_DIR)

lint: $(STAMP) ## Style and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test: lint parts ## Everything but the long suites
	$(BIN)/pytest -m "not long"

test-all: lint parts ## Everything
	$(BIN)/pytest

check: test ## What CI runs

bench: $(STAMP) parts ## Speed as ratios, into bench/results/latest.json
	$(BIN)/python -m bench.run

clean: ## Remove what make made here (the cache of binaries stays)
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
