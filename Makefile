# Towline's commands. Each works on a fresh machine: it first installs what it needs into .venv, once.
#
# Written for GNU make 3.81, which macOS has, and later. Versions and hashes come from two files, because running needs
# little more than half of what testing does (152 of 272 MB, 14 of 25 s on two cores with nothing cached):
#
#     constraints.txt       what Towline runs on, and the build backend that installs it
#     constraints-dev.txt   the same, and the tools and libraries of the tests

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
PIP := $(PYTHON) -m pip --quiet --disable-pip-version-check

# A part of `make test` begins with its name and the time, so that a log shows what took how long.
headline = @printf '\n== %s  %s\n' "$$(date +%T)" '$@'

# pip compiles what it installs, but for Towline's own modules, which stay where they are. Who runs them may not write
# there, or not at all (PYTHONDONTWRITEBYTECODE), and would compile them at each start: 0.24 s.
compile = @$(PYTHON) -m compileall -q src

# hypothesis's own profile for CI: the same examples in every run, and no deadline that a busy machine could miss.
PYTEST := -m pytest --hypothesis-profile=ci

.NOTPARALLEL:
.PHONY: help install run test check bench relay-bench policy-bench choices faults attacks fuzz format clean lock lint unit core-coverage e2e packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.run ## install Towline and what it runs on into .venv
	$(compile)

run: $(VENV)/.run ## run Towline, with TOWLINE_CONFIG=FILE or ARGS="-c FILE" or zero configuration
	@exec $(BIN)/towline run $(ARGS)

test: check unit core-coverage e2e ## every check and test; installs the Debian packages they need where it may

check: $(VENV)/.dev ## format, lint, types, layers, and the rules of tools/tree.py
	$(headline)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTHON) tools/tree.py
	$(PIP) check

unit: $(VENV)/.dev ## the tests that need no root and no daemons, with coverage
	$(headline)
	$(PYTHON) -m coverage run $(PYTEST) -p tests.core_coverage --ignore=tests/e2e --ignore=tests/faults --ignore=tests/attacks $(ARGS)
	$(PYTHON) -m coverage report

core-coverage: $(VENV)/.dev ## after `make unit`: each module of the core is covered whole by its own tests
	$(headline)
	$(PYTHON) -m tests.core_coverage

e2e: $(VENV)/.dev packages ## pulls by real clients, and faults and attacks in short (root, Debian's packages)
	$(headline)
	$(PYTHON) $(PYTEST) tests/e2e tests/faults tests/attacks $(ARGS)

choices: $(VENV)/.dev packages ## which routes are taken, live, as they get worse and better (half an hour; ARGS=--help)
	$(headline)
	$(PYTHON) -m tests.e2e.choice $(ARGS)

faults: $(VENV)/.dev packages ## every fault, by every client, ten times, as a table (hours; ARGS="--runs 1": see --help)
	$(headline)
	$(PYTHON) -m tests.faults.suite $(ARGS)

attacks: $(VENV)/.dev packages ## every attack on Towline, squid and tinyproxy, as a table (minutes; ARGS="--row SOCKS": see --help)
	$(headline)
	$(PYTHON) -m tests.attacks $(ARGS)

fuzz: $(VENV)/.dev ## mutations to whatever reads from outside, by atheris where it is installed (ARGS="head --inputs 100000")
	$(headline)
	@$(PYTHON) -m tests.attacks.fuzz $(ARGS)

packages: ## the Debian packages that the end-to-end tests use
	$(headline)
	@sed 's/#.*//' tests/debian-packages.txt | xargs tools/debian-packages

bench: $(VENV)/.dev $(VENV)/peers/.done ## measure beside other proxies, on loopback, as a table (20 minutes; ARGS=--help)
	$(headline)
	$(compile)
	$(PYTHON) -m tests.bench.peers $(ARGS)

relay-bench: $(VENV)/.dev ## measure the relay by itself, on loopback (ARGS=--help)
	$(headline)
	$(PYTHON) -m tests.bench.relay $(ARGS)

policy-bench: $(VENV)/.dev ## measure how well routes are chosen, beside what others do (ARGS=--help)
	$(headline)
	$(PYTHON) -m tests.bench.policy $(ARGS)

format: $(VENV)/.dev ## format, and fix what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv and all that the tools leave behind
	rm -rf $(VENV) .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find addons src tests tools -name __pycache__ -prune -exec rm -rf {} +

# uv, because pip-compile pins for the platform it runs on only. hatchling and editables install Towline itself.
LOCK := printf 'hatchling\neditables\n' | UV_CUSTOM_COMPILE_COMMAND='make lock' \
	$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes $(ARGS)

lock: $(VENV)/lock/bin/uv ## pin anew what pyproject.toml asks for (ARGS=--upgrade: everything to its newest version)
	$(LOCK) --output-file constraints.txt pyproject.toml -
	$(LOCK) --output-file constraints-dev.txt --constraint constraints.txt --group dev pyproject.toml -

$(VENV)/lock/bin/uv: $(VENV)/.python
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --quiet --disable-pip-version-check install 'uv >=0.9,<1'

# What `make bench` runs beside Towline. Go as Debian has it is enough: the programs use its standard library alone.
PEERS := tests/bench/peers
$(VENV)/peers/.done: $(VENV)/.python $(PEERS)/load/main.go $(PEERS)/relay/main.go $(PEERS)/requirements.txt \
		$(PEERS)/debian-packages.txt
	@echo 'Installing what is measured beside Towline, into $(VENV)/peers what Debian does not have'
	@sed 's/#.*//' $(PEERS)/debian-packages.txt | xargs tools/debian-packages
	@for name in load relay; do \
		(cd $(PEERS)/$$name && go build -o '$(CURDIR)/$(VENV)/peers/'$$name .) || exit; done
	@$(PYTHON) -m venv $(VENV)/peers/proxy.py
	@$(VENV)/peers/proxy.py/bin/python -m pip --quiet --disable-pip-version-check install \
		--require-hashes --requirement $(PEERS)/requirements.txt
	@touch $@

# Stamps: empty files that say when a step was done. The environment's own files are as old as their packages.
$(VENV)/.python:
	tools/make-venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python constraints.txt pyproject.toml
	@echo 'Installing what Towline runs on into $(VENV)'
	@$(PIP) install --require-hashes --requirement constraints.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	$(compile)
	@touch $@

$(VENV)/.dev: $(VENV)/.run constraints-dev.txt
	@echo 'Installing what the tests need into $(VENV)'
	@$(PIP) install --require-hashes --requirement constraints-dev.txt
	@touch $@
