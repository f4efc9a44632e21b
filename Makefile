# make search   the demo search, in runs/demo      make lint     ruff, mypy
# make test     all checks and tests               make format   ruff, in place
# make .venv    the environment of both            make clean    all but runs/
# make docs     the reference, in site/            make bazel    the BUILD files
# make lowest   tests with the lowest versions admitted
#
# Needs make and a Python of at least 3.11 with venv. To choose another than
# python3: make clean; make .venv PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help .venv search test docs lint format bazel lowest clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

.venv: $(STAMP)

# The stamp is written last: what was interrupted is done again.
$(STAMP): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		2>/dev/null || { \
		echo "PYTHON must be a Python of at least 3.11." \
		"Received: PYTHON=$(PYTHON) ($$($(PYTHON) --version 2>&1 | head -n 1))." >&2; \
		exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[test,report]'
	@touch $@

search: .venv
	$(BIN)/nas-search --preset=demo --workdir=runs/demo --local_workers=2

test: .venv lint
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile \
		--no-loadscope-reorder  # The files with the most tests are not the longest.

docs: .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[docs]'
	$(BIN)/python docs/reference.py site

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --no-error-summary

format: .venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One file each, of Linux on x86-64. npm only fetches them.
NPM := build/npm
BAZEL := $(NPM)/bazel-2.1.0-linux-x86_64
BUILDIFIER := $(NPM)/buildifier-linux_amd64

$(BAZEL): PACKAGE := @bazel/bazel-linux_x64@2.1.0
$(BUILDIFIER): PACKAGE := @bazel/buildifier@8.2.1
$(BAZEL) $(BUILDIFIER):
	@mkdir -p $(NPM)
	cd $(NPM) && tar xf "$$(npm pack --silent $(PACKAGE))" \
		--strip-components=1 package/$(@F)
	@chmod +x $@ && touch $@

bazel: .venv $(BAZEL) $(BUILDIFIER)
	$(BUILDIFIER) --mode=check --lint=warn --warnings=all \
		$(wildcard BUILD MODULE.bazel */BUILD nas_keras/*/BUILD \
		nas_keras/*/*/BUILD)
	$(BIN)/python tools/bazel_offline.py $(BAZEL) build //...
	$(BIN)/python tools/bazel_offline.py $(BAZEL) test \
		--test_size_filters=small --test_timeout=300 \
		--test_output=errors //...

# What touches the most of what the package requires; deprecations of old
# versions are no error.
LOWEST_TESTS := cells data drawing spaces storage dependencies_test.py \
	examples_test.py packaging_test.py report/report_tables_test.py \
	tasks/translation/translation_model_test.py

lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet \
		--disable-pip-version-check --constraint tools/lower_bounds.txt \
		--editable '.[test]'
	.venv-lowest/bin/python -m pytest -W default \
		$(LOWEST_TESTS:%=tests/%)

clean:
	rm -rf .venv .venv-lowest dist site *.egg-info .pytest_cache .ruff_cache \
		.mypy_cache .hypothesis
	if [ -d build ]; then rm -rf build; fi  # Not the file BUILD on a Mac.
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +
