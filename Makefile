# make demo      the whole job, from prompts to the preference histogram, then serve it (SERVE=0: exit instead)
# make lint      style, templates, dead code, imports, types
# make test      make lint, and every test (on SQLite; the database tests on PostgreSQL and Redis too, where they answer)
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
export DATABASE_URL_SERVICES ?= postgresql://postgres@127.0.0.1:5432/postgres
export REDIS_URL_SERVICES ?= redis://127.0.0.1:6379/9

.PHONY: demo test install install-dev lint test-services test-slow bench clean
.DEFAULT_GOAL := demo

$(VENV)/.made:
	@$(PYTHON) scripts/preflight.py $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made requirements.txt requirements-web.txt constraints.txt
	@echo "Installing into $(VENV) (about 6 GB, a few minutes)"
	$(PIP) -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -r requirements-dev.txt -c constraints.txt
	touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

demo: install
	$(RUN) manage.py demo $(if $(filter 0,$(SERVE)),--no-serve)

lint: install-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/djade --check --target-version 5.2 $$(find templates -name '*.html')
	$(RUN) -m vulture
	$(VENV)/bin/lint-imports
	$(RUN) -m mypy

test: lint
	CHROMIUM="$$(scripts/find_browser.sh)" $(RUN) -m pytest -m "not slow"
	$(MAKE) test-services

test-services: install-dev
	EVENHAND_TEST_SERVICES=1 $(RUN) -m pytest -m "database and not slow"

test-slow: install-dev
	CHROMIUM="$$(scripts/find_browser.sh)" $(RUN) -m pytest -m slow

bench: install-dev
	$(RUN) -m benchmarks.sampling
	$(RUN) -m benchmarks.generation

clean:
	rm -rf var
