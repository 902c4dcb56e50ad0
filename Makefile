# PYTHON makes the environment; EXTRAS are extras of pyproject.toml, separated by commas.
PYTHON ?= python3
EXTRAS ?= dev

BIN := .venv/bin
STAMP := .venv/setup-$(EXTRAS).stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo reproduce check test test-browser test-vllm test-extras test-gpu bench bench-data-gen bench-train bench-gpu bench-eval

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with everything pinned, and unpack the default model

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	PYTHON="$(PYTHON)" scripts/setup.sh "$(EXTRAS)"
	@touch $@

demo: setup ## run the whole pipeline small, on this machine
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

reproduce: setup ## run every claim small (some 15 minutes); ARGS=--figures also replaces docs/figures
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/reproduce.sh $(ARGS)

check: setup ## format, lint, types, and the laws of layout and configuration
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_conf.py

test: setup ## run the test suite, without what needs a GPU or a vLLM server
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2

test-browser: setup ## test the report's page in headless Chromium (installed if it is missing)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/browser_tests.sh

test-vllm: setup ## test against a real vLLM server on the CPU (an environment of its own in ~/.cache, 3.4 GB)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/vllm_tests.sh

test-extras: setup ## test what needs DeepSpeed, bitsandbytes, TensorBoard, trackio or W&B (laid over .venv)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 scripts/extras_tests.sh

test-gpu: setup ## test what needs a GPU
	$(BIN)/python -m pytest -q -m gpu

bench: bench-data-gen bench-train bench-eval ## measure speeds against named rivals; results in outputs/bench/

bench-data-gen: setup ## documents: filters, near duplicates, continuing, generating
	$(BIN)/python -m data_gen.bench

bench-train: setup ## training against trl.SFTTrainer and a bare loop
	$(BIN)/python -m train.bench

bench-gpu: setup ## training an 8B-shaped model on a GPU, in some four minutes
	$(BIN)/python -m train.bench_gpu

bench-eval: setup ## evaluation against the bare engine, and the bootstrap
	$(BIN)/python -m eval.bench
