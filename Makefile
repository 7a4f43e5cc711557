# make demo: see it work. make test: check it. A virtual environment is made in .venv on first use.
PYTHON ?= python3
# Other versions than those of requirements.txt, in an environment of their own: VERSIONS="numpy==2.2.6"
VERSIONS ?=
space := $(subst ,, )
VENV := .venv$(subst ==,-,$(subst $(space),,$(VERSIONS:%=-%)))
BIN := $(VENV)/bin
DATASET ?= demo
PAPER ?= otsuki2024
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench docs notebooks report

help: ## list the targets
	@grep -hE '^[a-zA-Z0-9_%-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## create .venv and install relsplit with pinned versions

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.10 is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 10) else 0)'
	@echo "Installing into $(VENV) once (torch is large: some minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -v -e '^#' $(foreach version,$(VERSIONS),-e '^$(firstword $(subst =, ,$(version)))==') requirements.txt > $(VENV)/versions.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r $(VENV)/versions.txt $(VERSIONS)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --quiet -e .
	@touch $@

demo: setup ## data, model, every explainer, maps of photographs, and a page of all in outputs/reproduce/demo
	$(BIN)/python run.py experiment=demo_and_photographs $(ARGS)

# One thread for each worker: two threads each would wait for one another on two cores.
test: setup ## the whole test suite, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup ## the documentation site in site/, offline and without a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html; for its search: $(BIN)/python -m http.server --directory site"

notebooks: setup ## run docs/notebooks where they lie, so that they hold what they show
	PYTHONWARNINGS=ignore $(BIN)/jupyter-execute --inplace docs/notebooks/*.ipynb

bench: setup ## speed against the peers; each table in one run
	for script in benchmarks/[!_]*.py; do echo "== $$script"; $(BIN)/python $$script $(ARGS) || exit 1; done

reproduce-%: setup ## a table or figure of a paper: reproduce-table1 ... reproduce-figure7, -audit, -all; PAPER=otsuki2024 DATASET=demo|cub|imagenet|image_folder
	$(BIN)/python run.py experiment=$(PAPER)/$* dataset=$(DATASET) $(ARGS)

report: setup ## one self-contained HTML page of all that was reproduced
	$(BIN)/python run.py task=report dataset=$(DATASET) $(ARGS)
