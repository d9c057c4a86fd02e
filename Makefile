# Everything one does with the book. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
NB ?=
PYTEST ?=
PROFILE ?= quick
WORKERS ?= 2
ADDRESS ?=
COLAB_PYTHON ?= python3.12
SUBMISSIONS ?=
ASSIGNMENT ?=
GRADE ?=

RUN := $(VENV)/bin/python
SITE_TESTS := $(addprefix tests/test_,site.py site_frame.py frame.py glossary.py accessibility.py content_security.py offline.py)
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with=tests/nbval.cfg --nbval-cell-timeout=600
# Kernels of other processors, which round in their own way: of torch (ATen, oneDNN, MKL) and of NumPy (OpenBLAS).
# On Arm the names of x86 mean nothing, and one run with the kernels that every Arm processor has remains.
KERNELS_avx2 := ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell MKL_ENABLE_INSTRUCTIONS=AVX2
KERNELS_sse4 := ATEN_CPU_CAPABILITY=default DNNL_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem MKL_ENABLE_INSTRUCTIONS=SSE4_2
KERNELS_arm := ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=ARMV8
KERNELS ?= $(if $(filter x86_64 amd64,$(shell uname -m)),avx2 sse4,arm)
NEW_ENOUGH := import sys; sys.exit(None if sys.version_info >= (3, 11) else "The book needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make $(MAKECMDGOALS) PYTHON=python3.12")

.DEFAULT_GOAL := help
.PHONY: help book serve lab execute test test-site test-portable test-colab site-report dist release grade bench bench-select lint address linkcheck audit sbom lock clean distclean python env env-test env-classroom env-audit

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
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(NBVAL) tests book $(PYTEST)

test-portable: env-test ## run all notebooks with the kernels of other processors (NB=book/x.ipynb: one; KERNELS=sse4: one setting)
	@failed=; $(foreach k,$(KERNELS),echo "test-portable, $k: $(or $(KERNELS_$k),$(error no kernels are named $k))"; \
	  env L2LAB_DEVICE=cpu $(KERNELS_$k) $(RUN) -m pytest -n $(WORKERS) --dist loadfile $(NBVAL) $(or $(NB),book) || failed="$$failed $k"; ) \
	test -z "$$failed" || { echo "test-portable: FAILED with the kernels of$$failed" >&2; exit 1; }

bench: env ## measure the sweep against a loop over λ, and the cost of the penalty; writes book/results/{bench,penalty}-*.json
	@$(RUN) -m l2lab.bench

bench-select: env-test ## compare the feature selector with its rivals (PROFILE=full: hours); writes book/results/selection-*.json
	@$(RUN) -m l2lab.studies selection --profile $(PROFILE)

lint: env-test ## check the style of the code
	@$(RUN) -m ruff check .

address: python ## write the address of the git remote origin (or ADDRESS=https://github.com/OWNER/NAME) wherever it has to stand
	@$(PYTHON) book/_tools/set_repository.py $(ADDRESS)

test-colab: env ## run all notebooks as Colab would, with its versions (5 GB; COLAB_PYTHON=python3.12; NB=book/x.ipynb: one)
	@$(RUN) book/_tools/colab.py --python $(COLAB_PYTHON) $(NB)

site-report: env-test ## ask Lighthouse how fast and how accessible the pages are (needs Node.js and, once, the network)
	@$(RUN) book/_tools/chromium.py
	@$(RUN) book/_tools/build.py
	@$(RUN) book/_tools/site_report.py

dist: env-test ## write the book as one zip and as one PDF, in _build/dist/
	@$(RUN) book/_tools/chromium.py
	@$(RUN) book/_tools/build.py
	@$(RUN) book/_tools/export.py zip
	@$(RUN) book/_tools/export.py pdf

release: env-classroom ## make the students' copies of the assignments from book/assignments/source (ASSIGNMENT=name: one)
	@$(RUN) book/assignments/release.py $(ASSIGNMENT)

grade: env-classroom ## grade a folder with nbgrader (SUBMISSIONS=folder ASSIGNMENT=name; GRADE='--jobs 8': options)
	@$(RUN) book/assignments/grade.py "$(SUBMISSIONS)" "$(ASSIGNMENT)" $(GRADE)

linkcheck: env ## follow the links that lead out of the book (needs the network)
	@$(RUN) book/_tools/check_links.py

audit: env-audit ## check the workflows, and look up known weaknesses of what .venv holds (needs the network)
	@.venv-audit/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv-audit/bin/zizmor --offline .github
	@.venv-audit/bin/python book/_tools/supply_chain.py audit --venv $(VENV)

sbom: env-audit ## list what the book is made of, in _build/sbom.cdx.json (CycloneDX)
	@.venv-audit/bin/python book/_tools/supply_chain.py sbom --venv $(VENV)

test-site: env-test ## build the pages and run the tests that look at them in a browser
	@$(RUN) book/_tools/chromium.py
	@$(RUN) book/_tools/build.py
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(SITE_TESTS)

lock: env ## resolve requirements anew and write requirements.lock (then: make test)
	@$(RUN) book/_tools/lock.py

clean: ## remove what was built, and caches
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find book tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

distclean: clean ## also remove the environment
	rm -rf $(VENV) .venv-* book/l2lab.egg-info

python:
	@$(PYTHON) -c '$(NEW_ENOUGH)'

env: python
	@$(PYTHON) book/_tools/install.py book --venv $(VENV)

env-test: python
	@$(PYTHON) book/_tools/install.py test --venv $(VENV)

env-classroom: python
	@$(PYTHON) book/_tools/install.py classroom --venv $(VENV)

env-audit: env
	@$(PYTHON) book/_tools/install.py audit --venv .venv-audit
