# Needs only Python 3.11 (with venv) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Not quiet: uv shows what it downloads, and how large that is.
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --inexact --compile-bytecode
export DAGSTER_HOME := $(CURDIR)/.mesh/dagster

.DEFAULT_GOAL := help

help: ## show what there is
	@grep -E '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(BIN)/.installed ## install what the mesh needs

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(BIN)/.installed: pyproject.toml | $(UV)
	@echo "Installing the mesh into $(VENV): about 150 packages, 0.8 GB on disk; only once."
	$(SYNC) --extra demo --no-dev
	@touch $@

$(BIN)/.installed-dev: pyproject.toml | $(UV)
	$(SYNC) --extra demo --extra fast --extra kafka --extra s3 --extra snowflake --extra spark --group dev
	@touch $@ $(BIN)/.installed

# Stands in for Snowflake in tests; wants another DuckDB than ours, so it lives apart.
$(VENV)/fakesnow/bin/fakesnow: tests/support/fakesnow.txt | $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)/fakesnow
	$(UV) pip install --quiet --no-config --python $(VENV)/fakesnow/bin/python -r tests/support/fakesnow.txt
	@touch $@

spark: install ## what target spark needs, but for Java 17 or 21
snowflake: install ## what target snowflake needs
kafka: install ## what `mesh kafka` needs: a Java, and what fetches Kafka
fast: install ## confluent-kafka, which lands several times as fast
s3: install ## what a warehouse in an object store needs
spark snowflake kafka fast s3:
	$(SYNC) --extra demo --extra $@ --no-dev

demo: install ## the main job on real retail data: events to published products
	@$(BIN)/mesh demo

dev: install ## Dagster's web page on port 3000
	@$(BIN)/mesh dev

# Files are handed out in the order of tests/support/pace.py.
PYTEST := -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 10

test: $(BIN)/.installed-dev $(VENV)/fakesnow/bin/fakesnow ## every test
	$(BIN)/python $(PYTEST)

test-fast: $(BIN)/.installed-dev ## tests that need no Java and no server, without the long ones
	$(BIN)/python $(PYTEST) -m 'not server and not slow and not live'

# The same libraries, but for dbt-core and what only one of its versions requires.
$(VENV)/dbt-1.11/.installed: $(BIN)/.installed-dev
	$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)/dbt-1.11
	$(UV) pip freeze --python $(BIN)/python --exclude-editable | grep -vE '^(dbt-core|metricflow)==' > $(VENV)/dbt-1.11/requirements.txt
	$(UV) pip install --quiet --no-config --python $(VENV)/dbt-1.11 -r $(VENV)/dbt-1.11/requirements.txt 'dbt-core>=1.11,<1.12'
	@touch $@

test-dbt-1.11: $(VENV)/dbt-1.11/.installed ## the older dbt-core that pyproject.toml allows: the tests that touch dbt most
	$(VENV)/dbt-1.11/bin/python $(PYTEST) \
		tests/lint/test_check.py tests/runs/test_journey.py tests/runs/test_parts.py tests/repository

lint: $(BIN)/.installed-dev ## style of Python and SQL, and what can be checked without data
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --processes 2 models domains
	$(BIN)/mesh check --target all

bench: $(BIN)/.installed-dev ## the figures, as ratios in one run
	$(BIN)/python -m benchmarks

lock: $(UV) ## write exact versions of everything into pyproject.toml
	$(BIN)/python .ci/lock.py pyproject.toml </dev/null # else the old versions would constrain the new ones
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) lock --quiet --upgrade
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) export --quiet --all-extras --all-groups --no-hashes \
		--no-annotate --no-header --no-emit-project | $(BIN)/python .ci/lock.py pyproject.toml

clean: ## remove the local lake, events and builds
	rm -rf .mesh target domains/*/target logs domains/*/logs

.PHONY: help install spark snowflake kafka fast s3 demo dev test test-fast test-dbt-1.11 lint bench lock clean
