# Needs only Python 3.11 (with venv) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Without --quiet, so that uv prints its downloads and their sizes.
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --inexact --compile-bytecode

.DEFAULT_GOAL := help

help: ## list the commands
	@grep -E '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(BIN)/.installed ## install the mesh

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(BIN)/.installed: pyproject.toml | $(UV)
	@echo "Installing the mesh into $(VENV): about 150 packages, 0.8 GB on disk; only once."
	$(SYNC) --extra demo --no-dev
	@touch $@

$(BIN)/.installed-dev: pyproject.toml | $(UV)
	$(SYNC) --extra cassandra --extra demo --extra fast --extra kafka --extra kinesis --extra mysql --extra postgres --extra s3 --extra snowflake --extra spark --group dev
	@touch $@ $(BIN)/.installed

# Replaces Snowflake in tests. It needs another version of DuckDB, so it has its own environment.
$(VENV)/fakesnow/bin/fakesnow: tests/support/fakesnow.txt | $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)/fakesnow
	$(UV) pip install --quiet --no-config --python $(VENV)/fakesnow/bin/python -r tests/support/fakesnow.txt
	@touch $@

spark: install ## packages for target spark (also needs Java 17 or 21)
snowflake: install ## packages for target snowflake
kafka: install ## packages for `mesh kafka`: Java, and a downloader for Kafka
fast: install ## confluent-kafka, which lands events several times as fast
postgres: install ## packages for PostgreSQL: sinks, extraction, and Dagster's record of runs
cassandra: install ## packages for sinks in Cassandra
mysql: install ## packages for extraction from MySQL and MariaDB
s3: install ## packages for a warehouse in an object store
kinesis: install ## packages for extraction from Amazon Kinesis
spark snowflake kafka fast postgres cassandra mysql s3 kinesis:
	$(SYNC) --extra demo --extra $@ --no-dev

demo: install ## a whole mesh on real retail data: from events to published products
	@$(BIN)/mesh demo

dev: install ## Dagster's web page on port 3000
	@$(BIN)/mesh dev

# Files are handed out in the order of tests/support/pace.py. Three workers for two cores, because
# the tests wait for servers and locks a quarter of their time.
PYTEST := -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 10

browser: ## Debian's Chromium, for the tests that look at Dagster's page
	@if command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell; \
	else echo "No browser, so the tests of Dagster's page are skipped: install Debian's package chromium-headless-shell, or chromium."; fi

mariadb: ## Debian's MariaDB, for the tests of extraction from MySQL
	@if command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ]; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends mariadb-server-core; \
	else echo "No MariaDB, so the tests of MySQL are skipped: install Debian's package mariadb-server-core."; fi

test: $(BIN)/.installed-dev $(VENV)/fakesnow/bin/fakesnow browser mariadb ## every test
	$(BIN)/python $(PYTEST)

test-fast: $(BIN)/.installed-dev ## tests that need no Java and no server, without the long ones
	$(BIN)/python $(PYTEST) -m 'not server and not slow and not live'

explore: $(BIN)/.installed-dev ## tests with generated values, with other values each time
	$(BIN)/python $(PYTEST) -m 'hypothesis and not server' --hypothesis-profile explore

# The same libraries except dbt-core and the packages that only one of its versions requires.
$(VENV)/dbt-1.11/.installed: $(BIN)/.installed-dev
	$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)/dbt-1.11
	$(UV) pip freeze --python $(BIN)/python --exclude-editable | grep -vE '^(dbt-core|metricflow)==' > $(VENV)/dbt-1.11/requirements.txt
	$(UV) pip install --quiet --no-config --python $(VENV)/dbt-1.11 -r $(VENV)/dbt-1.11/requirements.txt 'dbt-core>=1.11,<1.12'
	@touch $@

test-dbt-1.11: $(VENV)/dbt-1.11/.installed ## tests of dbt with the older dbt-core that pyproject.toml allows
	$(VENV)/dbt-1.11/bin/python $(PYTEST) \
		tests/repository tests/lint/test_check.py tests/runs/test_code.py \
		tests/runs/test_dbt_features.py tests/runs/test_dbt_tests.py tests/runs/test_journey.py \
		tests/runs/test_parts.py

lint: $(BIN)/.installed-dev ## style of Python and SQL, and all checks that need no data
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --quiet --python $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --processes 2 models domains
	$(BIN)/mesh check --target all

bench: $(BIN)/.installed-dev ## benchmarks, as ratios within one run
	$(BIN)/python -m benchmarks

lock: $(UV) ## write exact versions of all packages into pyproject.toml
	$(BIN)/python .ci/lock.py pyproject.toml </dev/null # removes the old versions, which would constrain the new ones
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) lock --quiet --upgrade
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) export --quiet --all-extras --all-groups --no-hashes \
		--no-annotate --no-header --no-emit-project | $(BIN)/python .ci/lock.py pyproject.toml

clean: ## remove the local lake, events and builds
	rm -rf .mesh target domains/*/target logs domains/*/logs

.PHONY: help install spark snowflake kafka fast postgres cassandra mysql s3 kinesis demo dev browser mariadb test test-fast explore test-dbt-1.11 lint bench lock clean
