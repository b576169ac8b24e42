# Everything a fresh machine needs: Python 3.11 or later, make and the package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test lint types imports docs-check check bench campaign profile contract clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.server: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.server

serve: $(VENV)/.server  ## install and start the server on the embedded store
	@$(BIN)/chaukas serve

test: $(VENV)/.dev  ## install what tests need and run all of them
	@$(BIN)/python scripts/install_test_tools.py
	@$(BIN)/python scripts/fetch_published.py --sdk
	$(BIN)/python -m pytest

lint: $(VENV)/.dev  ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev  ## the directions of imports (ARCHITECTURE.md)
	$(BIN)/lint-imports

docs-check: $(VENV)/.dev  ## settings, flags, routes, metrics, hooks documented; README code runs; module sizes; contract regenerated
	$(BIN)/python scripts/check_docs.py
	$(BIN)/python scripts/check_sizes.py
	$(BIN)/python scripts/generate_contract.py --check

check: test lint types imports docs-check  ## everything that CI runs

bench: $(VENV)/.dev  ## measure; see docs/benchmarks.md for what and how long
	$(BIN)/python -m bench

campaign: $(VENV)/.dev  ## an hour of kills, full disks, abuse and fuzzing; see docs/reliability.md
	@$(BIN)/python -m pip install --quiet -e '.[campaign]'
	@$(BIN)/python scripts/install_test_tools.py
	$(BIN)/python -m campaign

profile: $(VENV)/.dev  ## where the time of ingest goes
	$(BIN)/python -m bench.profile_ingest

contract: $(VENV)/.dev  ## regenerate the Python code from proto/
	$(BIN)/python scripts/generate_contract.py

clean:  ## remove what was built, not what was recorded
	rm -rf $(VENV) .cache build dist src/*.egg-info
