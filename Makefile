# trainlab: `make demo` runs the whole pipeline on a small data set, `make repro` runs it on CIFAR-10.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
SETUP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# DVC counts its users by default; a pipeline for CI and class rooms should not.
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup check demo repro search queue studies quick test test-faults fuzz mutants lint docs bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `venv --clear` would empty the directory that a link points to, which may be another project's environment.
$(SETUP): requirements.lock
	@test ! -L $(VENV) || { echo "$(VENV) is a symbolic link: remove it, then run make again (its target stays as it is)"; exit 1; }
	@test -n "$(PYTHON)" || { echo "trainlab needs Python 3.11, 3.12 or 3.13: install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(SETUP)  ## create the environment in .venv (again only when requirements.lock changes)

# Reports each mistake in params.yaml on one line, before DVC reads it.
check: $(SETUP)  ## check params.yaml
	@python stages/resolve.py --check

# In a copy, so that the committed results stay as they are.
DEMO := .work/demo
demo: check  ## run the whole pipeline on data that needs no download (scikit-learn's digits), in two minutes
	@rm -rf $(DEMO) && demo/prepare $(DEMO)
	@cd $(DEMO) && trainlab repro
	@cd $(DEMO) && echo && python stages/compare.py tricks
	@echo && echo "The results on one page: $(DEMO)/report/index.html"

# As many stages at the same time as there are cores; it leaves what `dvc repro` leaves.
repro: check  ## run the whole pipeline on CIFAR-10 (skips what is up to date)
	trainlab repro

# For example: make queue RUN=dropout_conv POINTS=20 VARY="lr optimizer.weight_decay"
POINTS := 10
queue: check  ## queue random points of the search's space as DVC experiments: RUN=NAME [POINTS=10] [VARY="KEY …"]
	@test -n "$(RUN)" || { echo "name a run of params.yaml: make queue RUN=baseline"; exit 1; }
	python search/enqueue.py $(RUN) --points $(POINTS) $(addprefix --vary=,$(VARY))

studies: check  ## run all studies, about six hours on two cores that compute in bfloat16
	@cd studies && python ../stages/resolve.py --check --no-own-data
	dvc repro normalize
	cd studies && trainlab repro

search: check  ## search for good hyperparameters (search/params.yaml), about an hour on two cores; resumes where it stopped
	dvc repro normalize
	dvc --cd search repro

quick: $(SETUP)  ## run the tests that need no DVC and no training above a second
	pytest -n 2 --dist worksteal -q -m "not slow and not faults" --ignore tests/pipeline

# Tracing doubles the time of the project's own Python code (3.11, which has no cheaper way). `make test COV=` does without.
COV := --cov --cov-report=term:skip-covered
test: $(SETUP)  ## run all tests, with the coverage of src/
	pytest -n 2 --dist worksteal -m "not faults" $(COV)

test-faults: $(SETUP)  ## run the long tests: kills, damaged files, attacks, a cluster of two nodes
	pytest -n 2 --dist worksteal -q -m faults

fuzz: $(SETUP)  ## run the property tests with fresh random examples, many more than `make test` has
	pytest -n 2 -q -m hypothesis --hypothesis-profile=fuzz --ignore tests/pipeline

# Without ONLY it resumes where it stopped, and keeps the results of unchanged functions. For example:
# make mutants ONLY='trainlab.objectives*' CHILDREN=2
CHILDREN := 2
mutants: $(SETUP)  ## change the source in small ways and count what the tests notice: [ONLY='MODULE*'] [CHILDREN=2]
	OMP_NUM_THREADS=1 mutmut run --max-children $(CHILDREN) $(patsubst %,'%',$(ONLY))
	@echo "Not killed:" && mutmut results | grep -v 'not checked' || true
	@mutmut results --all true | awk -F ': ' '$$2 != "not checked" { sub(/^ +/, "", $$1); sub(/[.][^.]*$$/, "", $$1); n[$$1]++; \
		if ($$2 == "killed" || $$2 == "timeout") killed[$$1]++ } END { for (m in n) { a += n[m]; k += killed[m]; \
		printf "%-48s %4d of %4d killed\n", m, killed[m], n[m] | "sort" } close("sort"); \
		if (a) printf "%-48s %4d of %4d killed: %.1f %%\n", "all that were run", k, a, 100 * k / a }'

lint: $(SETUP)  ## check format, style, types, generated tables, and that notebooks have no outputs
	ruff format --check .
	ruff check .
	mypy
	nbstripout --verify notebooks/*.ipynb
	python docs/fill.py --check

docs: $(SETUP)  ## build the documentation as a site, in .work/site
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "Open .work/site/index.html"

bench: $(SETUP)  ## time our training loop against the usual notebook loop, side by side
	python benchmarks/speed.py

lock: $(SETUP)  ## pin the newest versions within pyproject.toml's ranges (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-strip-extras --upgrade --group dev --all-extras pyproject.toml -o requirements.lock

clean:  ## remove the environment, the demo and mutants; data, models and caches stay
	rm -rf $(VENV) .work mutants
