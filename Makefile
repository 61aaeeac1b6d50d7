.PHONY: run setup space-demo cluster-demo node browser check check-js lint types quick quick-check quick-types quick-tests test test-js bench bench-gpu docs lock clean
PYTHON ?= python3
PY := .venv/bin/python
NODE := PATH="$(CURDIR)/.venv/bin:$$PATH" node
ARGS ?=
# Test files are dealt out to as many workers; each has its own browser and its own folders. WORKERS=0 for one process.
WORKERS ?= 2
# Bytecode is kept even where the environment says otherwise: reading all packages anew takes half a minute, in every
# process that a test starts.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest
DEALT := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

run:                  ## start the studio at http://127.0.0.1:7860 (ARGS="--port 8000" for flags)
	@$(PYTHON) run.py $(ARGS)

setup:                ## make .venv with what tests need, once
	@$(PYTHON) run.py --setup --dev

space-demo: setup     ## run as in a Hugging Face Space, with its variables and a read-only folder
	@$(PY) -m tools.space_demo

cluster-demo: setup   ## two studios that draw and one in front of them, on this machine (ARGS=--ray: over Ray)
	@$(PY) -m tools.cluster_demo $(ARGS)

browser:
	@tools/browser.sh

node: setup
	@tools/setup_node.sh

check: lint types check-js ## lint, format, types, layers, sizes

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@$(PY) tools/check_limits.py

types: setup
	@.venv/bin/pyright

check-js: node        ## the same for the page's scripts and styles
	@$(NODE) node_modules/eslint/bin/eslint.js --cache --cache-location node_modules/.cache/eslint/ --cache-strategy content --max-warnings 0 studio/assets/js tests/js eslint.config.js
	@$(NODE) node_modules/typescript/bin/tsc --project jsconfig.json --incremental --tsBuildInfoFile node_modules/.cache/tsc.json
	@$(NODE) node_modules/prettier/bin/prettier.cjs --cache --cache-strategy content --check --log-level warn "studio/assets/**/*.{js,css}" "tests/js/*.js"

quick: setup          ## lint, tests of scripts, and of types and of tests without torch and browser those that a change touches
	@$(MAKE) --no-print-directory -j2 quick-check quick-tests

quick-check: lint check-js test-js quick-types

quick-types: setup    ## the types of files that changed, or that import what changed, since they were last right
	@$(PY) -m tools.check_changed_types

# The first run makes all tests and notes what each runs; exit status 5 says that a change touched none.
quick-tests: setup
	@$(PYTEST) --testmon --testmon-forceselect $(DEALT) \
	  -m "not torch and not browser and not slow" $(ARGS) || [ $$? -eq 5 ]

# Some tests hold times on cores that all share: what fails is run once more with nothing beside it.
test: setup browser    ## everything that a change must pass
	@$(MAKE) --no-print-directory -j2 check test-js
	@$(PYTEST) $(DEALT) $(ARGS) || \
	  { echo "Failed tests are run once more, alone:"; $(PYTEST) --last-failed --last-failed-no-failures none -x; }

test-js: node         ## the page's scripts, without a browser
	@$(NODE) --test tests/js/*.test.js

bench: setup          ## the numbers in docs/performance.md, as ratios from one run
	@$(PY) -m benchmarks $(ARGS)

bench-gpu: setup      ## what each option for graphics cards gains, where there is one
	@$(PY) -m benchmarks gpu

docs: setup browser   ## screenshots and generated tables
	@$(PY) -m tools.docs

lock: setup           ## write constraints.txt anew from requirements-dev.txt
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade \
	  --override overrides.txt --no-build-isolation-package basicsr requirements-dev.txt -o constraints.new
	@{ head -n 1 constraints.txt; cat constraints.new; } > constraints.tmp && mv constraints.tmp constraints.txt && rm constraints.new

clean:                ## remove .venv and node_modules
	rm -rf .venv node_modules
