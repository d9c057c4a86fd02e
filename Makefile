# Everything one does with the book. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
NB ?=
PYTEST ?=
PROFILE ?= quick
WORKERS ?= 2

RUN := $(VENV)/bin/python
NEW_ENOUGH := import sys; sys.exit(None if sys.version_info >= (3, 11) else "The book needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make $(MAKECMDGOALS) PYTHON=python3.12")

.DEFAULT_GOAL := help
.PHONY: help book serve lab execute test bench bench-select lint lock clean distclean python env env-test

help: ## list these commands
	@echo "The L2 book. Needed: make and Python 3.11 or newer (PYTHON=python3.12 names one); the rest installs itself into $(VENV)."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

book: env ## build the HTML from the stored outputs (strict), check it, say where it is
	@$(RUN) book/_tools/build.py

serve: book ## build if needed, serve the site here and print its address (PORT=8000)
	@$(RUN) book/_tools/serve.py --port $(PORT)

lab: env ## open JupyterLab on the chapters
	@$(RUN) -m jupyter lab book

execute: env ## run all notebooks top to bottom and store outputs and widget state (NB=book/x.ipynb: one)
	@$(RUN) book/_tools/execute.py $(NB)

test: env-test ## install what tests need, Chromium too, and run everything (PYTEST='-k name': a part)
	@$(RUN) book/_tools/chromium.py
	@$(RUN) book/_tools/build.py
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile --nbval --nbval-current-env --nbval-sanitize-with=tests/nbval.cfg --nbval-cell-timeout=600 tests book $(PYTEST)

bench: env ## measure the sweep against a loop over λ, and the cost of the penalty; writes book/results/{bench,penalty}-*.json
	@$(RUN) -m l2lab.bench

bench-select: env-test ## compare the feature selector with its rivals (PROFILE=full: hours); writes book/results/selection-*.json
	@$(RUN) -m l2lab.studies selection --profile $(PROFILE)

lint: env-test ## check the style of the code
	@$(RUN) -m ruff check .

lock: env ## resolve requirements anew and write requirements.lock (then: make test)
	@$(RUN) book/_tools/lock.py

clean: ## remove what was built, and caches
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find book tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

distclean: clean ## also remove the environment
	rm -rf $(VENV) book/l2lab.egg-info

python:
	@$(PYTHON) -c '$(NEW_ENOUGH)'

env: python
	@$(PYTHON) book/_tools/install.py book --venv $(VENV)

env-test: python
	@$(PYTHON) book/_tools/install.py test --venv $(VENV)
