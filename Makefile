.PHONY: run setup browser check test bench docs lock clean
PY := .venv/bin/python
ARGS ?=

run: setup            ## start the studio at http://127.0.0.1:7860 (ARGS="--port 8000" for flags)
	@$(PY) app.py $(ARGS)

setup:                ## make .venv, once
	@tools/setup.sh

browser:
	@tools/browser.sh

check: setup          ## lint, format, types, layers, sizes
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@.venv/bin/pyright
	@$(PY) tools/check_limits.py

test: check browser   ## everything that a change must pass
	@$(PY) -m pytest $(ARGS)

bench: setup          ## the numbers in docs/performance.md, as ratios from one run
	@$(PY) -m benchmarks $(ARGS)

docs: setup browser   ## screenshots and generated tables
	@$(PY) -m tools.docs

lock: setup           ## write constraints.txt anew from requirements-dev.txt
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade \
	  --override overrides.txt --no-build-isolation-package basicsr requirements-dev.txt -o constraints.new
	@{ head -n 1 constraints.txt; cat constraints.new; } > constraints.tmp && mv constraints.tmp constraints.txt && rm constraints.new

clean:                ## remove .venv
	rm -rf .venv
