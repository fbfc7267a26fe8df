# make demo | run | stack | test: each sets up what it needs and does it, with Python 3.11+.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
EXAMPLES ?= 2000

# What is tested is the wheel as it is installed, not what lies on somebody's path.
unexport PYTHONPATH

.PHONY: help run demo stack backfill-demo test check lint types unit quick bench scale soak crowd explore release lock docs dashboards golden recordings clean FORCE
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: $(VENV)/.runtime ## serve the metrics of your own OpenCode (ARGS="--web.listen-address=:10777")
	$(BIN)/opencode-exporter serve $(ARGS)

demo: $(VENV)/.runtime ## serve a live demo database: http://127.0.0.1:10777/metrics
	$(BIN)/opencode-exporter demo $(ARGS)

stack: $(VENV)/.wheel ## the demo, Prometheus and Alertmanager together (ARGS="--prometheus-port 9091")
	$(BIN)/python deploy/stack.py $(ARGS)

backfill-demo: $(VENV)/.wheel ## a year before the exporter came, brought into Prometheus (ARGS="--days 90")
	$(BIN)/python deploy/backfill_demo.py $(ARGS)

test: lint types unit ## every check: lint, types, tests on the built wheel

check: test ## the same

lint: $(VENV)/.dev ## style, layout and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=exporter $(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

unit: $(VENV)/.wheel ## the tests alone (ARGS="-k fork")
	$(BIN)/python -m pytest $(ARGS)

quick: $(VENV)/.dev ## the fast tests, within a minute, on the files as they are, without a wheel (ARGS="-k fork")
	PYTHONPATH=$(CURDIR)/exporter $(BIN)/python -m pytest \
	  -m "not real and not root and not slow" -n auto --dist worksteal -q --durations=5 $(ARGS)

bench: $(VENV)/.wheel ## speed, as ratios against a baseline in the same run (PARTS=1000000)
	PYTHONPATH=tests $(BIN)/python -m bench.run $(if $(PARTS),--parts $(PARTS)) $(ARGS)

scale: $(VENV)/.wheel ## what a year of use makes of the ledger, simulated (PARTS=10000000)
	PYTHONPATH=tests $(BIN)/python -m bench.scale $(if $(PARTS),--parts $(PARTS)) $(ARGS)

soak: $(VENV)/.wheel ## writers, kills and scrapes at random, held against an exact truth (MINUTES=60)
	$(BIN)/python tests/soak/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

crowd: $(VENV)/.wheel ## crowds that want the server for themselves, two minutes each (SECONDS=120)
	CROWD_SECONDS=$(or $(SECONDS),120) $(BIN)/python -m pytest tests/web/test_server_crowds.py -rP $(ARGS)

explore: $(VENV)/.wheel ## new sequences of what may happen, and of where the exporter dies (EXAMPLES=2000)
	PROPERTY_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/properties $(ARGS)

docs: $(VENV)/.wheel ## write the generated parts of all documents anew
	PYTHONPATH=tests $(BIN)/python -m documents.pages --write

dashboards: $(VENV)/.wheel ## write the JSON of the Grafana dashboards anew, from grafana/boards
	PYTHONPATH=grafana $(BIN)/python -m boards

golden: $(VENV)/.wheel ## write the golden expositions anew; review the diff
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest tests/expose/test_golden.py

recordings: $(VENV)/.wheel ## record the databases anew with real OpenCode binaries
	PYTHONPATH=tests $(BIN)/python -m contract.recorder fetch
	for v in 1.2.27 1.14.48 1.17.11 1.18.33 2.0.15; do \
	  PYTHONPATH=tests $(BIN)/python -m contract.recorder record --version $$v --out tests/contract/recordings/$$v || exit 1; done
	PYTHONPATH=tests $(BIN)/python -m contract.recorder upgrade --out tests/contract/recordings/upgrade-1.18.33-2.0.15
	for api in anthropic compat google openai; do for v in 1.17.18 1.18.34 2.0.15; do \
	  test -d tests/contract/recordings/providers/$$api-$$v || continue; \
	  PYTHONPATH=tests $(BIN)/python -m contract.recorder provider --api $$api --version $$v \
	    --out tests/contract/recordings/providers/$$api-$$v || exit 1; done; done
	PYTHONPATH=tests $(BIN)/python -m contract.recorder provider --api anthropic --version 1.18.34 \
	  --upgrade 2.0.15 --out tests/contract/recordings/providers/upgrade-anthropic-1.18.34-2.0.15

release: test ## what is published: the tested wheel and the source, in dist (VERSION=1.0.0)
	@test "$(VERSION)" = "$$($(BIN)/opencode-exporter --version | sed 's/.* //')" || \
	  { echo "Set __version__ in exporter/opencode_exporter/__init__.py to VERSION first."; exit 1; }
	@grep -q "^## $(VERSION) " CHANGELOG.md || \
	  { echo "Give CHANGELOG.md a heading '## $(VERSION) / YYYY-MM-DD'."; exit 1; }
	@test -z "$$(git status --porcelain)" || { echo "Commit first."; exit 1; }
	$(BIN)/python -m build -q --no-isolation --sdist
	git tag -a v$(VERSION) -m "$(VERSION)"
	@echo "dist/ has what is to be published; then: git push --follow-tags"

lock: $(VENV)/.made ## resolve the locked versions anew
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --upgrade pyproject.toml -o exporter/requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --upgrade pyproject.toml --group dev -o tests/requirements.txt

clean: ## remove what the targets above made
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
	  { echo "The venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.runtime: $(VENV)/.made exporter/requirements.txt pyproject.toml $(shell find exporter -name '*.py' -o -name '*.sql' -o -name '*.html')
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r exporter/requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --force-reinstall .
	@touch $@

$(VENV)/.dev: $(VENV)/.made tests/requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@touch $@

# What goes into the wheel says whether it is built anew, not the times of files.
$(VENV)/.wheel: $(VENV)/.dev FORCE
	@PYTHONPATH=tests $(BIN)/python -m harness.wheel $@
