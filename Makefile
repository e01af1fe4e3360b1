# The two commands are `make demo` and `make test`; each does all its own set-up.
.DEFAULT_GOAL := help
.PHONY: help demo test chaos check format requirements wheelhouse bench-quality clean
SHELL := /bin/bash

BIN := .venv/bin
READY := .venv/.ready
NEEDS := requirements/setup.txt requirements/dev.txt pyproject.toml
ARGS ?=

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(READY) ## Run the whole of Nightreel on this machine (ARGS=--exit ends by itself)
	@$(BIN)/nightreel demo $(ARGS)

test: $(READY) ## Run all tests (ARGS goes to pytest)
	@.setup/browser
	@.setup/hosts
	@$(BIN)/nightreel data fetch ml-100k
	@$(BIN)/python -m pytest -m "not chaos or quick" $(ARGS)

chaos: $(READY) ## Let everything go wrong that docs/chaos.md names (ARGS goes to pytest)
	@.setup/hosts
	@$(BIN)/python -m pytest tests/chaos $(ARGS)

check: $(READY) ## Format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=web $(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

requirements: $(READY) ## Resolve the pinned requirement sets anew
	$(BIN)/python requirements/compile.py

wheelhouse: $(READY) ## Fetch the wheels that a bare node needs into build/wheelhouse
	$(BIN)/python -m pip wheel --quiet --require-hashes --wheel-dir build/wheelhouse -r requirements/spark.txt

bench-quality: $(READY) ## Measure the model's quality beside every baseline (ARGS goes to it)
	@$(BIN)/python -m benchmarks.quality $(ARGS)

clean: ## Remove everything that was made
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(READY): $(NEEDS)
	@.setup/environment .venv
	@touch $@
