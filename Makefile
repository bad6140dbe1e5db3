# Everything a developer runs. Needs make and one Python >= 3.11; the rest is installed into .venv.
# Candidates, best first: the first that runs, is new enough and can make an environment is taken.
# `make setup PYTHON=/path/to/python` names one.
PYTHON ?= python3.13 python3.12 python3.11 python3

BIN := .venv/bin
STAMP := .venv/.installed

# The second name is what newer pips read for the build backend; both stay relative, because pip
# splits the value at spaces.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes of ours: each would compile all of our modules anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo shots quick test unit test-kafka test-kubernetes oracle break lint types contracts coverage format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv with everything pinned in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@rm -f $(STAMP); \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || for candidate in $(PYTHON); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		"$$candidate" -m venv --clear .venv >/dev/null 2>&1 && break; \
	done; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo 'No Python >= 3.11 that can make a virtual environment among: $(PYTHON)' >&2; exit 1; \
	fi
	@echo "Installing into .venv"
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP) ## See it work, and survive kill -9, in half a minute (KEEP=1: leave it running)
	@$(BIN)/python -m bench.demo $(if $(filter-out 0,$(KEEP)),--keep)

shots: $(STAMP) ## Take the pictures of the console, and accept their texts (TAKES="runs help": those)
	@$(BIN)/python -m bench.shots $(TAKES)

# Processes that test side by side, each with a Kafka of its own: much of the time is waiting.
TESTERS ?= 4

# Without processes and servers, and seconds long at most: decisions, values, stores, what is drawn.
QUICK := $(addprefix tests/,core model admission store transactions process bench api/auth api/live \
	tui/core tui/panes cli/output test_tidy.py test_security_claims.py)

quick: lint ## The inner loop: lint, and the fast tests of decisions, values, stores, and views
	@printf '\n== Quick tests\n'
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile -m 'not e2e and not kafka and not kubernetes and not slow' $(QUICK)

test: lint types contracts ## Everything CI runs: lint, types, contracts, then all tests
	@printf '\n== Tests\n'
	@$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

unit: $(STAMP) ## The tests that start no process
	@$(BIN)/python -m pytest -m 'not e2e and not kafka and not kubernetes'

test-kafka: $(STAMP) ## The tests against a real Apache Kafka
	@$(BIN)/python -m pytest -m kafka

test-kubernetes: $(STAMP) ## The tests against a real Kubernetes control plane
	@$(BIN)/python -m pytest -m kubernetes

CASES ?= 10000

oracle: $(STAMP) ## Play lives of schedules against a naive reference: CASES=10000
	@$(BIN)/python -m pytest tests/services/schedules/test_schedules_by_oracle.py --schedule-cases=$(CASES)

SECONDS ?= 300
SEED ?= 1

break: $(STAMP) ## Fuzz it: SECONDS=300 for each fuzzer, SEED=1 (tests/hostile/README.md)
	@$(BIN)/python -m pytest tests/hostile --hostile-seconds=$(SECONDS) --hostile-seed=$(SEED)

lint: $(STAMP) ## Format and lint, changing nothing
	@printf '\n== Lint\n'
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .

types: $(STAMP) ## Check types
	@printf '\n== Types\n'
	@$(BIN)/python -m mypy

contracts: $(STAMP) ## Check which module may import which
	@printf '\n== Contracts\n'
	@$(BIN)/lint-imports --no-logo

coverage: $(STAMP) ## Lines and branches that no test without a process reaches
	@$(BIN)/python -m coverage run -m pytest -q -m 'not e2e and not kafka and not kubernetes'
	@$(BIN)/python -m coverage report

# `make format FILES="a.py b.py"` leaves the files of others alone.
FILES ?= .

format: $(STAMP) ## Format and apply safe fixes, to the whole tree or to FILES
	@$(BIN)/python -m ruff check --fix $(FILES)
	@$(BIN)/python -m ruff format $(FILES)

clean: ## Remove everything make made
	rm -rf .venv .kafka .kubernetes .containers dist build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find control workers store tui bench tests -name __pycache__ -type d -prune -exec rm -rf {} +
