# Every target works from a fresh clone: the environment is made from the lock first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10

setup: $(READY)  ## make .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 " + "setup")'
	@echo "Installing into $(VENV): about 6 GB, some minutes without a word"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
	@echo "Installed. source $(VENV)/bin/activate, or make demo"

demo: $(READY)  ## draw a synthetic EM stack, then fit, test and predict on it; no download
	$(BIN)/python -m segmentation synthesize --out data/demo --overwrite
	$(BIN)/python -m segmentation fit --config configs/demo.yaml
	$(BIN)/python -m segmentation test --ckpt_path runs/demo
	$(BIN)/python -m segmentation predict data/demo/images --ckpt_path runs/demo --out data/demo/predictions --write labels,overlay --overwrite

test: lint  ## lint, types and all tests; no network
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## speed on a CPU as a Markdown report, in about 20 minutes (a GPU: benchmarks/gpu.py)
	@for script in fit_speed fit_parts loader_speed precision startup tiling_speed; do \
		$(BIN)/python benchmarks/$$script.py && echo || exit 1; \
	done

lock:  ## resolve requirements.lock anew (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --all-extras --upgrade --output-file requirements.lock pyproject.toml

clean:  ## remove caches; runs and data stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache build src/*.egg-info
