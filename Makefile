# Everything a fresh machine with git, python3 (3.11 or newer) and make needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
AGENTS := tests/agents
# Half the suite waits for processes, so twice as many workers as cores pay off.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')

# Each worker reads all tests; with what Python has compiled it reads them in half the time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup sandbox chromium demo agents agents-slow test conformance chaos fuzz bench bench-full lint docs lock clean

setup: $(READY)

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Prodigy needs Python 3.11 or newer; this is %s. Name another with: make PYTHON=/path/to/python3" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/prodigy demo

# The real agent programs, for `make conformance`, which runs them against loopback APIs; without npm it skips them.
agents: $(AGENTS)/node_modules/.ready

$(AGENTS)/node_modules/.ready: $(AGENTS)/package.json $(AGENTS)/package-lock.json
	@cd $(AGENTS) && if ! command -v npm >/dev/null 2>&1; then \
		echo "agents: npm is not installed, so the tests with real agent programs are skipped"; \
	elif said=$$(npm ci --no-audit --no-fund --loglevel=error --fetch-retries=1 2>&1 && node_modules/.bin/claude --version 2>&1 && node_modules/.bin/codex --version 2>&1); then \
		touch node_modules/.ready; \
	else \
		echo "agents: npm ci failed in $(AGENTS), so the tests with real agent programs are skipped: $$(printf '%s' "$$said" | tr -s '[:space:]' ' ' | cut -c1-200)"; \
	fi

test: setup sandbox
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not chaos and not conformance"

# bubblewrap for the tests of sandboxes, where the system has none but its package can be had; else they are skipped.
sandbox:
	@command -v bwrap >/dev/null 2>&1 || [ -x $(BIN)/bwrap ] || ! command -v apt-get >/dev/null 2>&1 || ( \
		part=$$(mktemp -d) && cd "$$part" && \
		(apt-get download bubblewrap || { [ "$$(id -u)" = 0 ] && apt-get update && apt-get download bubblewrap; }) && \
		dpkg-deb -x bubblewrap_*.deb . && cp usr/bin/bwrap "$(abspath $(BIN))/bwrap"; rm -rf "$$part" \
	) >/dev/null 2>&1 || echo "sandbox: bubblewrap is not there, so the tests of sandboxes are skipped"

# A browser for the tests of the dashboard, where the system has none and we may install it; else they are skipped.
chromium:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		{ apt-get install -qq -y --no-install-recommends chromium >/dev/null 2>&1 || \
		{ apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1; }; \
	} || echo "chromium: it is not installed, so the tests of the dashboard in a browser are skipped"

# What holds for every agent, with the real programs.
conformance: setup agents agents-slow
	$(BIN)/python -m pytest -n 2 -m "conformance and not chaos" --timeout 600

agents-slow: $(AGENTS)/slow/node_modules/.ready $(AGENTS)/venv/.ready

$(AGENTS)/slow/node_modules/.ready: $(AGENTS)/slow/package.json
	@cd $(AGENTS)/slow && if ! command -v npm >/dev/null 2>&1; then \
		echo "agents: npm is not installed, so the tests with Gemini CLI and OpenCode are skipped"; \
	elif said=$$(npm install --no-audit --no-fund --loglevel=error --fetch-retries=1 2>&1 && node_modules/.bin/opencode --version 2>&1); then \
		touch node_modules/.ready; \
	else \
		echo "agents: npm install failed in $(AGENTS)/slow, so the tests with its programs are skipped: $$(printf '%s' "$$said" | tr -s '[:space:]' ' ' | cut -c1-200)"; \
	fi

$(AGENTS)/venv/.ready: $(AGENTS)/requirements-aider.txt
	@$(PYTHON) -m venv $(AGENTS)/venv && if said=$$($(AGENTS)/venv/bin/pip install --quiet --disable-pip-version-check -r $< 2>&1); then \
		touch $@; \
	else \
		echo "agents: aider can't be installed, so its tests are skipped: $$(printf '%s' "$$said" | tr -s '[:space:]' ' ' | cut -c1-200)"; \
	fi

chaos: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m chaos --timeout 1800

# Property tests with examples of their own each time, for as long as one likes to repeat it.
fuzz: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "hypothesis and not chaos and not conformance" --hypothesis-profile fuzz

bench: setup
	$(BIN)/python -m benchmarks

# An hour on two cores: ten thousand items executed, a hundred thousand in the engine alone, more rounds of everything.
bench-full: setup
	$(BIN)/python -m benchmarks --full

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# NO_MKDOCS_2_WARNING: the theme advertises its successor in every build.
docs: setup
	$(BIN)/python -m prodigy.cli.reference docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: setup
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
		--custom-compile-command "make lock" --extra dev --output-file requirements/dev.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
		--custom-compile-command "make lock" --output-file requirements/run.txt pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
