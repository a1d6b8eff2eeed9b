# trainlab: `make demo` shows the whole pipeline on embedded data, `make repro` runs it on CIFAR-10.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
SETUP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Counting users is DVC's default; a pipeline that runs in CI and class rooms should not phone anyone.
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup check demo repro search queue studies protocol test lint bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SETUP): requirements.lock
	@test -n "$(PYTHON)" || { echo "trainlab needs Python 3.11, 3.12 or 3.13: install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

setup: $(SETUP)  ## create the environment in .venv (again only when requirements.lock changes)

# Ours says what is wrong in params.yaml, and what would be right, before DVC reads it.
check: $(SETUP)  ## check params.yaml
	@python stages/resolve.py --check

# In a copy, so that the committed results stay as they are.
DEMO := .work/demo
demo: check  ## run the whole pipeline on data that needs no download (scikit-learn's digits)
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@git ls-files -z | tar --null -T - -cf - | tar -xf - -C $(DEMO)
	@cd $(DEMO) && rm -rf dvc.lock metrics plots timings && git init -q
	@cd $(DEMO) && sed 's/source: cifar10/source: digits/' params.yaml > digits.yaml && mv digits.yaml params.yaml
	@cd $(DEMO) && dvc repro
	@cd $(DEMO) && echo && for suite in metrics/*.json; do python stages/compare.py $$(basename $$suite .json); done
	@echo && echo "Pictures: f1.png and curves.png in $(DEMO)/plots/comparison/tricks/ and …/objectives/, $(DEMO)/plots/confusion_pictures/"

repro: check  ## run the whole pipeline on CIFAR-10 (skips what is up to date)
	dvc repro

search: $(SETUP)  ## search for good hyperparameters (search/params.yaml), about 40 minutes on two cores; goes on where it was stopped
	dvc repro search/dvc.yaml

# For example: make queue RUN=dropout_conv POINTS=20 VARY="lr optimizer.weight_decay"
POINTS := 10
queue: check  ## queue random points of the search's space as DVC experiments: RUN=NAME [POINTS=10] [VARY="KEY …"]
	@test -n "$(RUN)" || { echo "name a run of params.yaml: make queue RUN=baseline"; exit 1; }
	python search/enqueue.py $(RUN) --points $(POINTS) $(addprefix --vary=,$(VARY))

studies: check  ## run the studies of docs/studies.md, about an hour on two cores
	@python stages/resolve.py --check --under studies
	dvc repro studies/dvc.yaml

protocol: check  ## run the studies of docs/protocol.md, about an hour and a half on two cores
	@python stages/resolve.py --check --under studies/protocol
	dvc repro studies/protocol/dvc.yaml

test: $(SETUP)  ## run all tests
	pytest -n 2 --dist loadgroup

lint: $(SETUP)  ## check format, style and types
	ruff format --check .
	ruff check .
	mypy

bench: $(SETUP)  ## time our training loop against the usual notebook loop, side by side
	python benchmarks/speed.py

lock: $(SETUP)  ## pin the newest versions within pyproject.toml's ranges (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--upgrade --group dev pyproject.toml -o requirements.lock

clean:  ## remove the environment and the demo; data, models and caches stay
	rm -rf $(VENV) .work
