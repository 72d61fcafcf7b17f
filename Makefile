# Each target sets up what it needs. `make demo` and `make test` work on a fresh clone with Python
# 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPESCRIPT := typescript@5.9.3
# Without a network npx then gives up at once, not after minutes.
NPX := npm_config_fetch_retries=0 npm_config_fetch_timeout=30000 npx --yes -p $(TYPESCRIPT) tsc

FITTED := .fitted
# What is older than its own dependencies warns of them; the tests are strict with the newest only.
OLD := -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning
RUN_TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal
TEST_PACKAGES := beartype httpx2 hypothesis packaging pillow psycopg[binary] pytest pytest-xdist schemathesis
RUNTIME_PYTHON ?= $(PYTHON)
RUNTIME_VENV := .venv-runtime-$(notdir $(RUNTIME_PYTHON))

.PHONY: demo test test-slow test-all test-lowest test-lowest-runtime test-highest test-runtime fuzz kill test-station soak \
  check check-page check-platforms bench bench-quick bench-anomalib bench-coreset clean

demo: $(READY)  ## draw heat sinks, fit the good ones, show the defects of the others
	$(BIN)/flawmap demo -o demo

test: $(READY)  ## the tests, a few minutes
	$(RUN_TESTS)  # two at once, one thread each

test-slow: $(READY)  ## the tests that take minutes each
	$(BIN)/pytest -m slow

fuzz: $(READY)  ## 2,000 damaged files of each kind
	FLAWMAP_FUZZ_RUNS=2000 $(RUN_TESTS) -m fuzz

kill: $(READY)  ## 20 kills of each command at random moments
	FLAWMAP_KILL_RUNS=20 $(RUN_TESTS) -m kill

test-station: $(READY)  ## 20 kills of a station under load
	FLAWMAP_KILL_RUNS=20 OMP_NUM_THREADS=1 $(BIN)/pytest tests/server -m kill

soak: $(READY) $(FITTED)/soak.flawmap  ## 100,000 inspections: memory, handles, threads, latency
	$(BIN)/python tools/soak.py $(FITTED)/soak.flawmap
	$(BIN)/python tools/soak_station.py $(FITTED)/soak.flawmap --count 100000

test-lowest: $(READY) .venv-lowest/.ready  ## the tests with the lowest versions of pyproject.toml
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist worksteal $(OLD)

test-lowest-runtime: .venv-lowest-runtime/.ready $(FITTED)/scores.json  ## the same without the extra fit
	FLAWMAP_FITTED=$(CURDIR)/$(FITTED) OMP_NUM_THREADS=1 .venv-lowest-runtime/bin/python -m pytest \
	  -n 2 --dist worksteal $(OLD)

test-highest: .venv-highest/.ready  ## the tests with the newest versions, but for torch
	OMP_NUM_THREADS=1 .venv-highest/bin/python -m pytest -n 2 --dist worksteal

test-runtime: $(RUNTIME_VENV)/.ready $(FITTED)/scores.json  ## without fit: make test-runtime RUNTIME_PYTHON=python3.12
	FLAWMAP_FITTED=$(CURDIR)/$(FITTED) OMP_NUM_THREADS=1 $(RUNTIME_VENV)/bin/python -m pytest \
	  -n 2 --dist worksteal

test-all: check-platforms test test-slow fuzz kill test-station soak test-lowest test-lowest-runtime test-highest test-runtime  ## everything

check: $(READY) check-page  ## lint, format, types (of the tests too), architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check-platforms: $(READY)  ## types as Windows and macOS have them: no name that only Linux knows
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 src/flawmap
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin src/flawmap

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

# Files that a fit makes, for the tests that have no torch.
$(FITTED)/scores.json: $(READY) tests/fitted.py
	$(BIN)/python tests/fitted.py $(FITTED)

$(FITTED)/soak.flawmap: $(READY) tests/small_bundle.py
	$(BIN)/python tests/small_bundle.py $@

.venv-lowest/.ready: pyproject.toml constraints.txt tools/lowest_versions.py $(READY)
	$(BIN)/python -m venv .venv-lowest
	$(BIN)/python tools/lowest_versions.py --pinned constraints.txt elpv fit int8 onnx station > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/lowest.txt $(TEST_PACKAGES) \
	  --editable ".[elpv,fit,int8,onnx,station]"
	touch $@

.venv-lowest-runtime/.ready: pyproject.toml tools/lowest_versions.py $(READY)
	$(BIN)/python -m venv .venv-lowest-runtime
	$(BIN)/python tools/lowest_versions.py station > .venv-lowest-runtime/lowest.txt
	.venv-lowest-runtime/bin/pip install --quiet --constraint .venv-lowest-runtime/lowest.txt \
	  $(TEST_PACKAGES) --editable ".[station]"
	touch $@

# torch and torchvision stay at their pins: a machine may hold only one build of them.
.venv-highest/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-highest
	grep '^torch' constraints.txt > .venv-highest/pinned.txt
	.venv-highest/bin/pip install --quiet --upgrade --constraint .venv-highest/pinned.txt --editable ".[dev]"
	touch $@

$(RUNTIME_VENV)/.ready: pyproject.toml constraints.txt
	$(RUNTIME_PYTHON) -m venv $(RUNTIME_VENV)
	$(RUNTIME_VENV)/bin/pip install --quiet --constraint constraints.txt $(TEST_PACKAGES) --editable ".[station]"
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venv-* $(FITTED) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
