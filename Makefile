# `make run` and `make test` need Python 3.11 or later and make, nothing else: the rest is set up here.

VENV ?= .venv
RUN_VENV ?= .venv-run
DOCS_VENV ?= .venv-docs
LOCK ?= requirements.lock
PYTHON ?=
ARGS ?=
JOBS ?= 6
MAILS ?= 300
KILLS ?= 15
RUN := $(VENV)/bin/python
READY := $(VENV)/ready
# An environment whose Python is gone, or is not the one that is asked for, is built again.
STALE := $(if $(wildcard $(READY)),$(shell \
	version='import sys; print(sys.version)'; \
	if ! has=$$($(RUN) -c "$$version" 2>&1); then rm -f $(READY); echo "its Python is gone or broken"; \
	elif [ -n "$(PYTHON)" ] && [ "$$has" != "$$("$(PYTHON)" -c "$$version" 2>&1)" ]; then \
		rm -f $(READY); echo "it has another Python than $(PYTHON)"; fi))
$(if $(STALE),$(info $(VENV) is built again: $(STALE).))
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python)
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
LOCKING := $(VENV)/locking
# The lock names versions and hashes, never where they came from.
COMPILE = $(LOCKING)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# Tests start many processes: without bytecode files, each would compile everything again.
PYTEST = unset PYTHONDONTWRITEBYTECODE; \
	exec $(RUN) -m pytest -m "$(TESTS)" $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist worksteal) $(ARGS)

.PHONY: help run start test test-long test-both test-engines soak bench measure docs manual site test-minimum check lint types layers format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

run: ## the application, a worker and two local relays; Ctrl-C stops them; PORT=8000, ARGS="--mailbox-port 8001 --smtp-port 2530"
	@$(MAKE) --no-print-directory VENV=$(RUN_VENV) LOCK=requirements-run.lock start

start: $(READY)
	@exec $(RUN) -m devserver $(ARGS)

test: TESTS = not network and not long and not further
test: $(READY) ## all tests but the long ones, six at once (JOBS=1: one); ARGS="-k name --databases sqlite" for some
	@$(PYTEST)

test-long: TESTS = long and not network and not further
test-long: $(READY) ## the long ones: kill -9 loops, full disks, stepped clocks, threads that hang, outages, brokers
	@$(PYTEST)

# In one run, in which the long ones wait while others compute.
test-both: TESTS = not network and not further
test-both: $(READY) ## both of these at once, as .ci/run does
	@$(PYTEST)

test-engines: TESTS = further
test-engines: $(READY) ## 300 mails and 15 kill -9 on each engine: worker (also many recipients), served application, Celery; MAILS=1000 KILLS=50
	@unset PYTHONDONTWRITEBYTECODE; OUTBOX_TEST_MAILS=$(MAILS) OUTBOX_TEST_KILLS=$(KILLS) \
		$(RUN) -m pytest -rP -m "long or further" -k "test_soak or kill_loop or killed_again" tests/story/test_soak.py \
		tests/story/test_soak_groups.py tests/story/test_celery.py tests/story/test_in_process.py $(ARGS)
	@$(PYTEST)

soak: $(READY) ## 10,000 mails and 200 kill -9 on each database; ARGS="--mails 1000 --kills 50"
	@exec $(RUN) -m benchmarks.soak $(ARGS)

bench: ## the figures of docs/performance.md in 15 minutes (needs cc, libssl-dev); ARGS="--only drain", ARGS=--write
	@$(MAKE) --no-print-directory VENV=.venv-bench LOCK=requirements-bench.lock measure

measure: $(READY)
	@exec $(RUN) -m benchmarks.bench $(ARGS)

docs: ## the documentation as a site in build/docs, without a warning and without the network
	@$(MAKE) --no-print-directory VENV=$(DOCS_VENV) LOCK=requirements-docs.lock site

manual: $(READY) ## docs/commands.md and the manual page, from the commands
	@$(RUN) -m outbox.cli.manual

site: $(READY)
	@rm -rf build/docs
	@$(RUN) -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

check: lint types test-both ## everything that must be green

lint: $(READY) ## format and rules (ruff)
	@$(RUN) -m ruff format --quiet --check . || { echo "Run: make format" >&2; exit 1; }
	@$(RUN) -m ruff check --quiet .

types: $(READY) ## types (mypy --strict on outbox/)
	@$(RUN) -m mypy

layers: $(READY) ## which module may import which
	@$(RUN) -m pytest -q tests/unit/test_layers.py

format: $(READY) ## put the source into its format
	@$(RUN) -m ruff check --quiet --fix-only .
	@$(RUN) -m ruff format --quiet .

lock: $(LOCKING)/ready ## pin the newest versions that pyproject.toml allows
	@$(COMPILE) --upgrade --group dev --all-extras -o requirements.lock pyproject.toml
	@$(COMPILE) --upgrade --group dev --all-extras --resolution lowest-direct -o requirements-minimum.lock pyproject.toml
	@$(COMPILE) --upgrade --group bench --all-extras --constraint requirements.lock -o requirements-bench.lock pyproject.toml
	@$(COMPILE) --upgrade --group run $(addprefix --extra ,postgresql mariadb metrics) --constraint requirements.lock \
		-o requirements-run.lock pyproject.toml
	@$(COMPILE) --upgrade --group docs -o requirements-docs.lock pyproject.toml

test-minimum: ## all tests with the oldest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=.venv-minimum LOCK=requirements-minimum.lock test test-long

clean: ## remove what `make` made; instance/ and its mail stay
	rm -rf .venv .venv-run .venv-minimum .venv-bench .venv-docs .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

# Made anew when the lock changes, so that nothing of an older one is left in it.
$(READY): $(LOCK) pyproject.toml
	@if ! [ -w . ]; then \
		echo "$(CURDIR) can't be written, and this needs to. Work on a copy: cp -r $(CURDIR) ~/outbox" >&2; \
		exit 1; \
	fi; \
	for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ] && [ -n "$(PYTHON)" ]; then \
		echo "PYTHON=$(PYTHON) is not Python 3.11 or later. Name one that is, or leave it out." >&2; \
		exit 1; \
	elif [ -z "$$found" ]; then \
		echo "Python 3.11 or later is needed, and none is on the PATH. Install it, or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) from $(LOCK) (once) ..."; \
	"$$found" -m venv --clear $(VENV)
	@$(PIP) install --no-deps --require-hashes -r $(LOCK)
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(PIP) check
	@touch $@

$(LOCKING)/ready: | $(READY)
	@$(RUN) -m venv $(LOCKING)
	@$(LOCKING)/bin/python -m pip --disable-pip-version-check --quiet install uv==0.13.9
	@touch $@
