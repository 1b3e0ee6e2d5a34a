# Every target does its own set-up: a virtual environment in .venv with the locked dependencies.

PYTHON ?= python3
BIN    := .venv/bin
TREES   = RELAYD_TREES=$(or $(RELAYD_TREES),build/trees) packaging/in-trees

.PHONY: help demo test snippets snippets-lock faults lint format types check docs audit lock constraints audit-lock clean torture deb image test-deb test-systemd test-pythons bench bench-quick bench-lock
.DEFAULT_GOAL := help

help:  ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: .venv/ready  ## shows an event's whole path on this machine
	@$(BIN)/relayd demo

test: .venv/ready  ## runs the tests, two at a time, in half an hour (as root, with strace, faketime and sqlite3, none are skipped)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

snippets: build/snippets/ready  ## installs what the documentation's programs need, so that their tests run (npm, pip)

snippets-lock:  ## resolves these again (needs uv, npm, go)
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --python-version 3.11 --custom-compile-command "make snippets-lock" \
	  tests/snippets.lock/requirements.in -o tests/snippets.lock/requirements.txt
	cd tests/snippets.lock && npm update --package-lock-only && go get -u github.com/mattn/go-sqlite3

torture: .venv/ready  ## runs relayd under random faults for an hour and a half (best as root, with strace)
	@cd tests && ../$(BIN)/python -m torture --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1) \
	  --update ../docs/reliability.md

faults: .venv/ready  ## runs the fault matrix and the short torture runs alone, one at a time
	@$(BIN)/python -m pytest tests/faults tests/torture

lint: .venv/ready  ## ruff, and the formatter's check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: .venv/ready  ## formats the code and fixes what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

types: .venv/ready  ## mypy in strict mode
	@$(BIN)/mypy

check: lint types test  ## everything that must pass before a change lands

docs: .venv/ready  ## writes the states of core/ into docs/architecture.md
	@$(BIN)/python docs/state_diagram.py

lock:  ## resolves the dependencies again (needs uv)
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --python-version 3.11 --extra dev --extra templates --extra web --custom-compile-command "make lock" \
	  pyproject.toml -o requirements-dev.lock
	@$(MAKE) --no-print-directory constraints

constraints: .venv/ready  ## writes packaging/requirements.lock, and constraints.txt, the lock's versions for `pip install -c constraints.txt .`
	@{ echo "# The versions that relayd is tested with, from requirements-dev.lock (make constraints):"; \
	  echo "#     pip install -c constraints.txt ."; \
	  sed -n '/^[a-z0-9]/s/ *\\$$//p' requirements-dev.lock; } > constraints.txt
	@{ echo "# What relayd needs when it runs, with its extras, from requirements-dev.lock (make constraints):"; \
	  $(BIN)/python packaging/runtime_requirements.py pyproject.toml requirements-dev.lock templates web; \
	  } > packaging/requirements.lock

audit: .venv/ready .venv-audit/ready  ## looks for known vulnerabilities in the lock, and writes the SBOM to dist/
	@mkdir -p build
	@$(BIN)/python packaging/runtime_requirements.py pyproject.toml requirements-dev.lock templates web \
	  > build/runtime.txt
	@PYTHONPATH=. .venv-audit/bin/python packaging/audit/audit.py requirements-dev.lock build/runtime.txt \
	  pyproject.toml dist/relayd.cdx.json

audit-lock:  ## resolves the audit's dependencies again (needs uv)
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --python-version 3.11 --custom-compile-command "make audit-lock" \
	  packaging/audit/requirements.in -o packaging/audit/requirements.lock

deb: .venv/ready  ## makes the Debian package, in dist/
	@packaging/build-deb

image:  ## makes the container image relayd (with podman or docker)
	@if command -v podman >/dev/null; then podman build --format docker -t relayd -f packaging/Containerfile .; \
	else docker build -t relayd -f packaging/Containerfile .; fi

test-deb: deb  ## installs and removes it in fresh Debian trees, and tries pipx there (as root)
	@$(TREES) $(BIN)/python -m pytest tests/trees/test_deb.py tests/trees/test_pipx.py

test-systemd: deb  ## runs it under a real systemd in Debian trees (as root)
	@$(TREES) $(BIN)/python -m pytest tests/trees/test_systemd_tree.py

test-pythons: .venv/ready  ## runs the tests, or PYTEST_ARGS, with Debian's Python 3.13 and 3.14 in trees (as root)
	@$(TREES) env PYTHONPATH=tests $(BIN)/python -m trees.pythons \
	  $(or $(PYTEST_ARGS),-n 2 --dist worksteal --deselect=tests/torture)

bench: .venv-bench/ready  ## measures relayd beside its peers, in 15 minutes (nginx and more from Debian, as root)
	@.venv-bench/bin/python -m benchmarks --output benchmarks/results --update docs/performance.md README.md

bench-quick: .venv-bench/ready  ## the same with fewer events and repeats, in 3 minutes
	@.venv-bench/bin/python -m benchmarks --quick --output benchmarks/results/quick

bench-lock:  ## resolves the benchmarks' dependencies again (needs uv)
	uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	  --python-version 3.11 --constraint requirements-dev.lock --custom-compile-command "make bench-lock" \
	  benchmarks/requirements.in -o benchmarks/requirements.lock

clean:  ## removes what the other targets made
	rm -rf .venv .venv-bench .venv-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

# Debian packs the venv module apart from Python (python3-venv): say so, or install it where we may.
.venv/ready: pyproject.toml requirements-dev.lock
	@echo "Setting up .venv with the locked dependencies (once)…"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null; } \
	  || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# relayd's own locked dependencies come last: it is measured with those that it is tested with.
.venv-bench/ready: pyproject.toml requirements-dev.lock benchmarks/requirements.lock
	@echo "Setting up .venv-bench with the benchmarks' locked dependencies (once)…"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null; } \
	  || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv-bench
	@echo '*' > .venv-bench/.gitignore
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Without Node.js, the Python programs' libraries alone.
build/snippets/ready: $(wildcard tests/snippets.lock/*)
	@echo "Setting up build/snippets with the libraries of the documentation's programs (once)…"
	@$(PYTHON) -m venv --clear build/snippets/venv
	@build/snippets/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/snippets.lock/requirements.txt
	@cp tests/snippets.lock/package.json tests/snippets.lock/package-lock.json build/snippets
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix build/snippets; fi
	@touch $@

.venv-audit/ready: packaging/audit/requirements.lock
	@echo "Setting up .venv-audit with the audit's locked dependencies (once)…"
	@$(PYTHON) -m venv --clear .venv-audit
	@echo '*' > .venv-audit/.gitignore
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/audit/requirements.lock
	@touch $@
