# PYTHON makes the environment; EXTRAS are extras of pyproject.toml, separated by commas.
PYTHON ?= python3
EXTRAS ?= dev

BIN := .venv/bin
STAMP := .venv/setup-$(EXTRAS).stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo test check test-vllm

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with everything pinned, and unpack the default model

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	PYTHON="$(PYTHON)" scripts/setup.sh "$(EXTRAS)"
	@touch $@

demo: setup ## run the whole pipeline small, on this machine
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

check: setup ## format, lint, types, and the laws of layout and configuration
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_conf.py

test: setup ## run the whole test suite
	$(BIN)/python -m pytest -q

test-vllm: setup ## test against a real vLLM server on this machine (an environment of its own, 3 GB)
	PYTHON="$(PYTHON)" scripts/setup_vllm.sh
	$(BIN)/python -m pytest -q -m vllm
