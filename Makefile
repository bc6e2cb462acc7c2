# Every target sets itself up first; a second time that costs a fraction of a second and no network. See .ci/setup.
VENV := .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=

# A Spark, or Python packages, of the surrounding shell must not slip in between.
unexport SPARK_HOME SPARK_CONF_DIR PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON PYSPARK_SUBMIT_ARGS PYTHONPATH PYTHONHOME
# Local Spark sessions work where the host name does not resolve, or where there is no network at all.
export SPARK_LOCAL_IP ?= 127.0.0.1

# Prefix of a command that runs in the set-up environment.
IN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" JAVA_HOME="$$(cat $(VENV)/java_home)"

.PHONY: help setup demo test check lint types layers lengths examples format bench locks clean distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:  ## make .venv from locks/test.txt and find (or install) Java 17 or 21
	@bash .ci/setup

demo: setup  ## three parties train and score together on this machine, on real data
	@$(IN) python conf/example/demo.py .demo

test: setup  ## run the tests (PYTEST_ARGS="tests/crypto -x")
	@$(IN) python -m pytest -q $(PYTEST_ARGS)

check: lint types layers lengths examples  ## style, types, layers, file lengths, example files

lint: venv
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: venv
	@$(VENV)/bin/mypy

layers: venv
	@$(VENV)/bin/lint-imports --no-logo

lengths:
	@find fedspark -name '*.py' -exec wc -l {} + | awk '$$2 == "total" { next } \
		$$1 > 450 { print $$2 ": " $$1 " lines; split it, 400 is the aim and 450 the limit"; bad = 1; next } \
		$$1 > 400 { print $$2 ": " $$1 " lines; 400 is the aim (a warning)" } \
		END { exit bad }'

# Party files name keys and tables that are made, never committed: so the demo's copy of the example is checked.
EXAMPLE := .ci/out/example
examples: venv
	@rm -rf $(EXAMPLE)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" PYTHONPATH=conf/example $(VENV)/bin/python -B -c \
		"from pathlib import Path; import demo; demo.set_up(Path('$(EXAMPLE)'), demo.make_tables())"
	@$(VENV)/bin/fedspark check $(EXAMPLE)/*.yaml

format: venv  ## let ruff format and fix what it can
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

.PHONY: venv
venv:
	@bash .ci/setup venv

bench: setup  ## measure, side by side with the peers (BENCH_ARGS="--rows 100000"); prints JSON lines
	@bash .ci/setup peers || echo "bench: peers that are not installed are reported as absent" >&2
	@bash .ci/setup spu || true
	@$(IN) python -m benchmarks.psi --protocol rsa $(BENCH_ARGS)
	@$(IN) python -m benchmarks.psi --protocol ecdh --phase crypto $(BENCH_ARGS)
	@$(IN) python -m benchmarks.psi --protocol ot --phase crypto $(BENCH_ARGS)
	@$(IN) python -m benchmarks.paillier $(BENCH_ARGS)
	@$(IN) python -m benchmarks.lr $(BENCH_ARGS)

# For maintainers; needs uv. Upgrades nothing by itself: add UV_ARGS="--upgrade".
LOCK = uv pip compile --quiet --universal --python-version 3.11 --no-header $(UV_ARGS)
locks:  ## resolve locks/*.txt again from pyproject.toml and locks/*.in
	$(LOCK) pyproject.toml locks/test.in --extra spark --extra mysql --extra clickhouse --extra hive --extra test --extra demo --extra fast --extra sqlscript -o locks/test.txt
	$(LOCK) pyproject.toml locks/peers.in -c locks/test.txt -o locks/peers.txt
	$(LOCK) pyproject.toml locks/airflow.in -o locks/airflow.txt
	uv pip compile --quiet --python-version 3.11 --no-header $(UV_ARGS) locks/peers-spu.in -o locks/peers-spu.txt

clean:  ## remove what runs and tools left behind
	rm -rf .demo .ci/out build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache \
		spark-warehouse metastore_db derby.log
	find fedspark tests benchmarks jobs conf airflow_dags -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean  ## remove the set-up too
	rm -rf .venv .venv.*
