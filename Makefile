# trainlab: `make demo` shows the whole pipeline on embedded data, `make repro` runs it on CIFAR-10.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
SETUP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Counting users is DVC's default; a pipeline that runs in CI and class rooms should not phone anyone.
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo repro check test lint bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SETUP): requirements.lock
	@test -n "$(PYTHON)" || { echo "trainlab needs Python 3.11, 3.12 or 3.13: install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

setup: $(SETUP)  ## create the environment in .venv (again only when requirements.lock changes)
