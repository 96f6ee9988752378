# make demo      the whole job, from prompts to the preference histogram, then serve it (SERVE=0: exit instead)
# make test      make lint, and every test (on SQLite; the database tests on PostgreSQL and Redis too, where they answer);
#                JOBS=2 processes, each of which takes up to 2 GB of memory
# make faults    kill, cut off and fill up installations of its own, and report what did not hold (TIMES=20 kills a run)
# make lint      style, templates, dead code, imports, types, risky code, known vulnerabilities
# make fuzz      10 000 requests of any content (CASES=2000 to each of five doors), from SEED, which is printed
# make audit     look the pinned packages up among known vulnerabilities (needs the network; without it, says so)
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin/python
JOBS ?= 2
# a file's tests stay in one process, which makes what they share once
TEST := $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
export DATABASE_URL_SERVICES ?= postgresql://postgres@127.0.0.1:5432/postgres
export REDIS_URL_SERVICES ?= redis://127.0.0.1:6379/9

CODE := analysis config demo generation metrics sampling scripts studies
.PHONY: demo test install install-dev lint audit fuzz test-services test-slow faults bench clean
.DEFAULT_GOAL := demo

$(VENV)/.made:
	@$(PYTHON) scripts/preflight.py $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.made requirements.txt requirements-web.txt constraints.txt
	@echo "Installing into $(VENV) (about 6 GB, a few minutes)"
	$(PIP) -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt requirements-s3.txt
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
	$(RUN) -m bandit --quiet --configfile pyproject.toml --recursive $(CODE)
	$(MAKE) audit

audit: install-dev
	$(RUN) scripts/audit.py

test: lint
	CHROMIUM="$$(scripts/find_browser.sh)" $(TEST) -m "not slow"
	$(MAKE) test-services

test-services: install-dev
	EVENHAND_TEST_SERVICES=1 $(TEST) -m "database and not slow"

test-slow: install-dev
	CHROMIUM="$$(scripts/find_browser.sh)" $(RUN) -m pytest -m slow

faults: install-dev
	$(RUN) -m scripts.run_faults $(if $(TIMES),--times $(TIMES))

CASES ?= 2000
SEED ?= $(shell date +%s)
fuzz: install-dev
	@echo "seed $(SEED)"
	EVENHAND_FUZZ=$(CASES) $(RUN) -m pytest tests/fuzz --numprocesses $(JOBS) --dist load --hypothesis-seed=$(SEED)

bench: install-dev
	$(RUN) -m benchmarks.sampling
	$(RUN) -m benchmarks.generation

clean:
	rm -rf var
