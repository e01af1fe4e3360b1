# The two commands are `make demo` and `make test`; each does all its own set-up.
.DEFAULT_GOAL := help
.PHONY: help demo test long chaos check format requirements wheelhouse clean contract fuzz bench-site site lighthouse test-airflow bench-quality
SHELL := /bin/bash

BIN := .venv/bin
READY := .venv/.ready
NEEDS := requirements/setup.txt requirements/dev.txt pyproject.toml
ARGS ?=
PORT ?= 8000

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(READY) ## Run the whole of Nightreel on this machine (ARGS=--exit ends by itself)
	@$(BIN)/nightreel demo $(ARGS)

site: $(READY) ## Serve the site with the newest bundle at hand, or a small one that it makes (PORT=8000)
	@$(BIN)/nightreel serve --port $(PORT)

test: $(READY) ## Run all tests (ARGS goes to pytest)
	@.setup/browser
	@.setup/postgres
	@.setup/nginx
	@.setup/hosts
	@.setup/aws .venv
	@$(BIN)/nightreel data fetch ml-100k
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long and not night and (not chaos or quick)" $(ARGS)

long: $(READY) ## Run the tests that take too long for every day (ARGS goes to pytest)
	@.setup/hosts
	@$(BIN)/nightreel data fetch ml-100k
	@$(BIN)/python -m pytest -m long $(ARGS)

chaos: $(READY) ## Let everything go wrong that docs/chaos.md names (ARGS goes to pytest)
	@.setup/hosts
	@$(BIN)/python -m pytest tests/chaos $(ARGS)

contract: $(READY) ## Hold the API to its OpenAPI document with Schemathesis (CONTRACT_EXAMPLES per operation)
	@CONTRACT_EXAMPLES=$${CONTRACT_EXAMPLES:-500} $(BIN)/python -m pytest tests/contract $(ARGS)

fuzz: $(READY) ## Send the site hostile bundles, queries and headers (FUZZ_EXAMPLES of them)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-102000} $(BIN)/python -m pytest tests/fuzz -s $(ARGS)

bench-site: $(READY) ## Measure the site: scoring, requests per second, a model swap under load, memory
	@OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.site $(ARGS)

lighthouse: $(READY) ## Lighthouse on the pages, phone and desktop; needs npm and Chromium (ARGS=--url for a running site)
	@$(BIN)/python -m benchmarks.lighthouse $(ARGS)

test-airflow: $(READY) ## Let everything go wrong at night that docs/nights.md names (ARGS goes to pytest)
	@.setup/hosts
	@$(BIN)/nightreel data fetch ml-100k
	@$(BIN)/python -m pytest tests/night $(ARGS)

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
