# Each target sets up what it needs. `make demo` and `make test` work on a fresh clone with Python
# 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPESCRIPT := typescript@5.9.3
# Without a network npx then gives up at once, not after minutes.
NPX := npm_config_fetch_retries=0 npm_config_fetch_timeout=30000 npx --yes -p $(TYPESCRIPT) tsc

.PHONY: demo test test-slow test-all check check-page bench bench-quick bench-anomalib bench-coreset clean

demo: $(READY)  ## draw heat sinks, fit the good ones, show the defects of the others
	$(BIN)/flawmap demo -o demo

test: $(READY)  ## the tests, a few minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal  # two at once, one thread each

test-slow: $(READY)  ## the tests that take minutes each
	$(BIN)/pytest -m slow

test-all: test test-slow  ## all tests

check: $(READY) check-page  ## lint, format, types (of the tests too), architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check-page: $(READY)  ## lint, format and types of the report page's script
	@if [ -x $(BIN)/biome ]; then $(BIN)/biome check --error-on-warnings; \
	else echo "skipped: Biome, which has no wheel for this machine"; fi
	@if ! command -v npx >/dev/null; then echo "skipped: TypeScript, since there is no npx (Node.js)"; \
	elif ! $(NPX) --version >/dev/null 2>&1; then \
	  echo "skipped: TypeScript, since npx cannot fetch $(TYPESCRIPT)"; \
	else echo "tsc -p tsconfig.json"; $(NPX) -p tsconfig.json; fi

bench: $(READY) .venv-anomalib/.ready  ## beside anomalib, about an hour: make bench DATASET=… RESNET18=…
	$(BIN)/python bench/rivals.py $(DATASET) $(if $(RESNET18),--resnet18 $(RESNET18)) $(RIVALS)

bench-quick: $(READY) .venv-anomalib/.ready  ## the same in minutes, with fewer images: make bench-quick DATASET=…
	$(BIN)/python bench/rivals.py $(DATASET) $(if $(RESNET18),--resnet18 $(RESNET18)) --quick $(RIVALS)

bench-anomalib: .venv-anomalib/.ready  ## agreement with anomalib: make bench-anomalib DATASET=… RESNET18=…
	.venv-anomalib/bin/python bench/anomalib_agreement.py $(DATASET) $(RESNET18)

bench-coreset: $(READY)  ## the coreset beside a plain loop
	$(BIN)/python bench/coreset.py

.venv-anomalib/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-anomalib
	.venv-anomalib/bin/pip install --quiet --constraint constraints.txt "anomalib[openvino]==2.7.0" --editable ".[fit]"
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venv-anomalib demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
