# Everything one does with the book. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
NB ?=
PYTEST ?=
PROFILE ?= quick
FOLDER ?= _build/studies
WORKERS ?= 2
ADDRESS ?=
COLAB_PYTHON ?= python3.12
SUBMISSIONS ?=
ASSIGNMENT ?=
GRADE ?=

RUN := $(VENV)/bin/python
# uv, where it is installed, is the faster one.
UV := $(shell command -v uv 2>/dev/null)
MAKE_VENV ?= $(if $(UV),uv venv --quiet --python $(PYTHON),$(PYTHON) -m venv)
LOCK := $(wildcard requirements.lock)
# A browser for the tests: the one that is named, one of the system, or Playwright's own.
CHROMIUM := $(or $(L2_CHROMIUM),$(firstword $(foreach name,chromium google-chrome-stable google-chrome,$(shell command -v $(name) 2>/dev/null))))
# Not the script: its first line has the environment's path, which may have moved.
JUPYTER_BOOK := $(RUN) -c "from jupyter_book.cli.main import main; main()"
# What make lock leaves to the machine.
FREE := torch|torchvision|triton|sympy|mpmath|networkx|fsspec|filelock|setuptools|numpy|typing-extensions
SITE_TESTS := $(addprefix tests/test_,site.py frame.py glossary.py offline.py)
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with=tests/nbval.cfg --nbval-cell-timeout=600
# Kernels of other processors, which round in their own way: of torch (ATen, oneDNN, MKL) and of NumPy (OpenBLAS).
# On Arm the names of x86 mean nothing, and one run with the kernels that every Arm processor has remains.
KERNELS_avx2 := ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell MKL_ENABLE_INSTRUCTIONS=AVX2
KERNELS_sse4 := ATEN_CPU_CAPABILITY=default DNNL_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem MKL_ENABLE_INSTRUCTIONS=SSE4_2
KERNELS_arm := ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=ARMV8
KERNELS ?= $(if $(filter x86_64 amd64,$(shell uname -m)),avx2 sse4,arm)
NEW_ENOUGH := import sys; sys.exit(None if sys.version_info >= (3, 11) else "The book needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make $(MAKECMDGOALS) PYTHON=python3.12")

.DEFAULT_GOAL := help
.PHONY: help book serve lab execute test test-site test-portable test-colab site-report dist release grade bench bench-select gpu-check lint address linkcheck audit lock clean distclean python chromium env env-test env-classroom env-audit

help: ## list these commands
	@echo "The L2 book. Needed: make and Python 3.11 or newer (PYTHON=python3.12 names one); the rest installs itself into $(VENV)."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

book: env ## build the HTML from the stored outputs (strict), check it, say where it is
	@$(RUN) book/_site/build.py

serve: book ## build if needed, serve the site here and print its address (PORT=8000)
	@$(RUN) -m http.server --bind localhost --directory _build/html $(PORT)

lab: env ## open JupyterLab on the chapters
	@$(RUN) -m jupyter lab book

execute: env ## run all notebooks top to bottom and store outputs and widget state (NB=book/x.ipynb: one)
	@$(RUN) book/_site/execute.py $(NB)

test: lint chromium ## install what tests need, Chromium too, and run everything (PYTEST='-k name': a part)
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 --no-loadscope-reorder $(NBVAL) book tests $(PYTEST)

test-portable: env-test ## run all notebooks with the kernels of other processors (NB=book/x.ipynb: one; KERNELS=sse4: one setting)
	@failed=; $(foreach k,$(KERNELS),echo "test-portable, $k: $(or $(KERNELS_$k),$(error no kernels are named $k))"; \
	  env L2LAB_DEVICE=cpu $(KERNELS_$k) $(RUN) -m pytest -n $(WORKERS) --dist loadfile $(NBVAL) $(or $(NB),book) || failed="$$failed $k"; ) \
	test -z "$$failed" || { echo "test-portable: FAILED with the kernels of$$failed" >&2; exit 1; }

bench: env ## measure the sweep against a loop over λ, and the cost of the penalty; writes book/results/{bench,penalty}-cpu.json
	@$(RUN) -m l2lab.bench

bench-select: env-test ## compare the feature selector with its rivals (PROFILE=full: hours); writes selection-*.json into FOLDER (_build/studies)
	@$(RUN) -m l2lab.studies selection --profile $(PROFILE) --folder $(FOLDER)

gpu-check: env ## run training code of the chapters on a GPU and on the CPU and compare; writes book/results/gpu-*.json
	@$(RUN) -m l2lab.studies gpu

lint: env-test ## check the style of the code, and who imports whom
	@$(RUN) -m ruff check .
	@PYTHONPATH=book $(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()" --no-cache

address: python ## write the address of the git remote origin (or ADDRESS=https://github.com/OWNER/NAME) wherever it has to stand
	@$(PYTHON) book/_site/repository.py $(ADDRESS)

test-colab: python ## run all notebooks with the versions that Colab has (5 GB; COLAB_PYTHON=python3.12)
	@test -x .venv-colab/bin/python || $(COLAB_PYTHON) -m venv .venv-colab
	@.venv-colab/bin/python -m pip install --quiet --requirement requirements-colab.txt nbval
	@.venv-colab/bin/python -m pip install --quiet --no-deps --editable .
	@.venv-colab/bin/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=600 $(or $(NB),book)

site-report: book ## ask Lighthouse how fast and how accessible the pages are (needs Node.js, Chrome and, once, the network)
	@export CHROME_PATH="$(CHROMIUM)"; \
	for kind in desktop phone; do npx --yes @lhci/cli@0.15.1 autorun --config=lighthouserc.$$kind.json || failed=1; done; test -z "$$failed"

dist: book ## write the pages as one zip, in _build/dist/
	@mkdir -p _build/dist && $(RUN) -m zipfile -c _build/dist/l2-book-html.zip _build/html

release: env-classroom ## make the students' copies of the assignments from book/assignments/source (ASSIGNMENT=name: one)
	@cd book/assignments && for name in $(or $(ASSIGNMENT),$(notdir $(wildcard book/assignments/source/*))); do \
	$(abspath $(RUN)) -m nbgrader generate_assignment $$name --no-db --force --log-level=ERROR \
	--CourseDirectory.release_directory=../../_build/release && \
	cp ../../_build/release/$$name/$$name.ipynb . && echo "book/assignments/$$name.ipynb" || exit 1; done

grade: env-classroom ## grade a folder with nbgrader (SUBMISSIONS=folder ASSIGNMENT=name; GRADE='--jobs 8': options)
	@$(RUN) book/assignments/grade.py "$(SUBMISSIONS)" "$(ASSIGNMENT)" $(GRADE)

linkcheck: env ## follow the links that lead out of the book, and ask for its DOIs (needs the network and curl)
	@PYTHONUTF8=1 $(JUPYTER_BOOK) build . --path-output . --builder custom --custom-builder linkcheck --keep-going -q
	@sed -n 's/.*doi={\([^}]*\)}.*/\1/p' book/references.bib | sort -u | (while read -r doi; do \
	curl -fsSIg -o _build/doi "https://doi.org/$$doi" || { echo "DOI not found: $$doi"; failed=1; }; done; test -z "$$failed")

audit: env-audit ## check the workflows and CITATION.cff, and look up known weaknesses of what .venv holds (needs the network)
	@.venv-audit/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv-audit/bin/check-jsonschema --builtin-schema vendor.citation-file-format --default-filetype yaml CITATION.cff
	@.venv-audit/bin/zizmor --offline .github
	@.venv-audit/bin/pip-audit --progress-spinner off --desc on --path "$$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

test-site: env-test chromium ## build the pages and run the tests that look at them in a browser
	@$(RUN) book/_site/build.py
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(SITE_TESTS)

lock: ## resolve requirements anew and write requirements.lock (needs uv; then: make test)
	@uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-annotate --no-header --output-file _build/resolved.txt requirements.txt requirements-test.txt
	@(echo '# Constraints for a reproducible environment, for Python 3.11 to 3.13. Written by `make lock`; not edited by'; \
	echo '# hand. Left free on purpose: torch, torchvision, numpy and what torch brings with it.'; \
	grep -E '^[A-Za-z0-9._-]+==' _build/resolved.txt | grep -vE '^(($(FREE))==|nvidia-|cuda-)') > requirements.lock

clean: ## remove what was built, and caches
	rm -rf _build .lighthouseci .pytest_cache .ruff_cache .hypothesis
	find book tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

distclean: clean ## also remove the environment
	rm -rf $(VENV) .venv-* book/l2lab.egg-info

python:
	@$(PYTHON) -c '$(NEW_ENOUGH)'

# $(call install,ENVIRONMENT,REQUIREMENT FILES,OTHER ARGUMENTS): a stamp keeps what was asked for, so that a second
# call does nothing; an environment that does not start is made anew.
define install
	@stamp=$(1)/.installed-$@; mark="$$(pwd; $(PYTHON) --version; cat $(2) pyproject.toml)"; \
	$(1)/bin/python -c "" 2>/dev/null && test "$$mark" = "$$(cat $$stamp 2>/dev/null)" && exit; \
	$(1)/bin/python -c "" 2>/dev/null || $(MAKE_VENV) $$(test ! -f $(1)/pyvenv.cfg || echo --clear) $(1) || exit; \
	echo "Installing $(2) into $(1) (with torch this takes minutes) …"; \
	$(if $(UV),uv pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check) \
	$(addprefix --requirement=,$(filter-out %.lock,$(2))) $(addprefix --constraint=,$(filter %.lock,$(2))) $(3) && echo "$$mark" > $$stamp
endef

env: python
	$(call install,$(VENV),requirements.txt $(LOCK),--editable .)

env-classroom: python
	$(call install,$(VENV),requirements.txt requirements-classroom.txt $(LOCK),--editable .)

env-test: python
	$(call install,$(VENV),requirements.txt requirements-classroom.txt requirements-test.txt $(LOCK),--editable .)

env-audit: env
	$(call install,.venv-audit,requirements-audit.txt)

chromium: env-test
	@test -n "$(CHROMIUM)" || $(RUN) -m playwright install chromium || (apt-get update -qq && apt-get install -y -qq chromium) || \
	(echo "The browser tests need Chromium: install it, or name one with L2_CHROMIUM=/path/to/chrome" >&2; exit 1)
