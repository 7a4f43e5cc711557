# Everything a newcomer needs: make demo, make test. A virtual environment is made in .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET ?= demo
ARGS ?=

.PHONY: help setup demo test lint bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-zA-Z%_-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  %-22s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## create .venv and install reslrp with pinned versions

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python >= 3.10 is needed (make PYTHON=python3.11 ...)")'
	@echo "Installing into $(VENV) (once; torch is large, this takes some minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --quiet -e .
	@touch $@
