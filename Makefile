# make run · test · test-fast · lint · check · bench · soak · docs · clean
# Needs Python >= 3.11 with venv and pip, git and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# `run` installs the package as a user would, again when a source file changed; `test` installs it editable.
SOURCES := $(shell find src examples -type f ! -path '*/__pycache__/*' | LC_ALL=C sort)
RUN_STAMP := $(VENV)/.run-$(shell cat pyproject.toml $(SOURCES) | sha256sum | cut -c1-16)
DEV_STAMP := $(VENV)/.dev-$(shell cat pyproject.toml .ci/constraints.txt | sha256sum | cut -c1-16)
INSTALLED := $(if $(wildcard $(DEV_STAMP)),$(DEV_STAMP),$(RUN_STAMP))

.PHONY: help run test test-fast lint format check docs docs-check bench soak clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,2s/^# //p' Makefile

run: $(INSTALLED)
	$(BIN)/isotherm up --demo $(ARGS)

test: $(DEV_STAMP)
	.ci/install
	$(BIN)/python .ci/pytest_phases.py

test-fast: $(DEV_STAMP)
	$(BIN)/python .ci/pytest_phases.py --fast

lint: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(DEV_STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All that CI runs. The tests come last, so that their summary ends the output.
check: lint docs-check
	$(MAKE) --no-print-directory test

# ARGS: names of benchmarks, --quick.
bench: $(DEV_STAMP)
	.ci/install bench
	$(BIN)/python -m benchmarks $(ARGS)

# Long runs that `check` leaves out: kills at random points for ROUNDS, with an account of all that was acknowledged;
# then calls for MINUTES while processes are killed and functions deployed anew.
soak: $(DEV_STAMP)
	$(BIN)/python -m tests.soak.kills --rounds $(or $(ROUNDS),200) --json benchmarks/results/kills.json
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) --json benchmarks/results/soak.json $(ARGS)

# Measured figures go into SPEC.md and README.md by `python docs/figures.py`.
docs: $(DEV_STAMP)
	$(BIN)/python docs/generate.py

docs-check: $(DEV_STAMP)
	$(BIN)/python docs/generate.py --check

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "isotherm needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): | $(VENV)/bin/python
	$(BIN)/pip install --quiet .
	@rm -f $(VENV)/.run-* && touch $@

$(DEV_STAMP): | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint .ci/constraints.txt --editable '.[dev]'
	@rm -f $(VENV)/.run-* $(VENV)/.dev-* && touch $@
