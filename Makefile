# `make run` and `make test` need python3 (3.11 or newer, with venv) and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest
# Workers are given whole files, in the order of tests/conftest.py: tests of one may share a daemon, and most are so short
# that to hand them out one by one takes as long as to run them.
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: again run demo web test test-rest test-all test-oldest soak bench fuzz mutants lint types docs pictures man habits format clean

run: $(VENV)/installed
	@$(BIN)/vmproxy run $(ARGS) || { status=$$?; \
		echo "Options go into ARGS, for other ports: make run ARGS=\"--vm-listen tcp:13380 --ssh-listen tcp:2223\"" >&2; \
		exit $$status; }

demo: $(VENV)/installed
	@$(BIN)/vmproxy demo $(ARGS)

# The terminal of the pages, from npm, into vmproxy/web/vendor; without it console pages show the log as text.
web:
	@command -v npm >/dev/null || { echo "make web needs npm (Debian: apt-get install npm)." >&2; exit 1; }
	@cd web && npm ci --ignore-scripts --no-fund --no-audit --loglevel=error && node vendor.js

# The quick suite. What it leaves out is in test-rest.
test: $(VENV)/tools
	$(PYTEST) $(PARALLEL) -m "not (system or slow or soak)" --hypothesis-profile=quick $(ARGS)

# The daemon as a process, what takes long, and the property tests with all their examples.
test-rest: $(VENV)/tools
	$(PYTEST) $(PARALLEL) -m "(system or slow or hypothesis) and not (alone or soak)" $(ARGS)
	$(PYTEST) -m "alone and not soak" $(ARGS)

# Everything but soak.
test-all: $(VENV)/tools
	$(PYTEST) $(PARALLEL) -m "not (alone or soak)" $(ARGS)
	$(PYTEST) -m "alone and not soak" $(ARGS)

soak: $(VENV)/tools
	$(PYTEST) -m soak -s --hypothesis-profile=deep $(ARGS)

# What needs no process of its own, without property tests, under another Python with the oldest versions allowed.
# The tools among the tests' requirements (asciinema, ssh-audit, playwright) are left to the other suites.
OLDEST = build/oldest
OTHER_SUITES = asciinema|ssh-audit|playwright|schemathesis|openapi|oidc|jsonschema|pyvmomi|ldap3|pamela|joserfc
test-oldest:
	@echo "Installing the oldest versions into $(OLDEST) ..."
	@$(PYTHON) -m venv --clear $(OLDEST)
	@$(OLDEST)/bin/python -m pip --quiet --disable-pip-version-check install --only-binary :all: \
		$$($(OLDEST)/bin/python -c '$(PRINT)' options.install_requires options.extras_require.regex options.extras_require.test \
		| tr ' ' '\n' | grep -v -E '$(OTHER_SUITES)' | sed 's/>=/==/')
	$(OLDEST)/bin/python -m pytest $(PARALLEL) -p no:cacheprovider --hypothesis-profile=quick -m "not (slow or alone or hypothesis)" \
		tests/wire tests/console tests/vm tests/ssh $(ARGS)

bench: $(VENV)/installed
	@$(BIN)/python -m bench $(ARGS)

# Ten minutes in all, under atheris where pip has it for this machine, else under hypothesis: it says which.
fuzz: $(VENV)/tools
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install $$($(REQUIREMENTS) options.extras_require.fuzz) || true
	@nice $(BIN)/python -m fuzz $(ARGS)

# A hundred small faults in the modules that guard bytes and doors: would the tests notice? A quarter of an hour.
mutants: $(VENV)/tools
	@nice $(BIN)/python -m mutants $(ARGS)

lint: $(VENV)/tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/tools
	$(BIN)/mypy

# The pages and the reference of the code; a reference that leads nowhere is an error.
docs: $(VENV)/tools
	$(BIN)/python -m sphinx --quiet --nitpicky --fail-on-warning --keep-going docs build/docs

# The pictures in README, of a real session, and those of the pages (Chromium); look at them before they are committed.
pictures: $(VENV)/tools
	$(BIN)/python -m docs.terminal_pictures docs/pictures menu pager
	$(BIN)/python docs/web_pictures.py

# vmproxy(1), vmproxy(8), vmproxy.toml(5), operators.toml(5), vmproxy-console(7), vmproxy-commands(7).
man: $(VENV)/tools
	$(BIN)/python -m sphinx --quiet --fail-on-warning -b man -t man docs build/man

# Formatting, types and layers are checked before each commit.
habits: $(VENV)/tools
	$(PIP) install $$($(REQUIREMENTS) options.extras_require.habits)
	$(BIN)/pre-commit install

format: $(VENV)/tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist docs/api docs/man web/node_modules vmproxy/web/vendor *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What vmproxy needs is installed; vmproxy itself runs from the checkout, by bin/vmproxy and bin/twistd too.
# An environment without a working pip, or whose installation was interrupted, is made anew.
# The mark is looked for, not compared: two files made within one tick of the clock have the same time.
$(VENV)/installed: setup.cfg $(if $(wildcard $(VENV)/unfinished),again)
	@command -v $(PYTHON) >/dev/null || { echo "vmproxy needs Python 3.11 or newer (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@[ ! -e $(VENV)/unfinished ] && $(BIN)/python -c '$(USABLE)' 2>/dev/null || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vmproxy needs Python 3.11 or newer, this is " + sys.version.split()[0])' && \
		rm -rf $(VENV) && echo "Making a virtual environment in $(VENV) ..." && \
		if ! { $(PYTHON) -m venv $(VENV) && $(BIN)/python -c '$(USABLE)'; }; then \
			rm -rf $(VENV); \
			echo "No virtual environment can be made: install python3-venv (Debian: apt-get install python3-venv)." >&2; \
			exit 1; \
		fi; }
	$(call INSTALL,options.install_requires)
	@$(PIP) install --only-binary :all: $$($(REQUIREMENTS) options.extras_require.regex) 2>/dev/null \
		|| echo "google-re2 is not to be had here: search and expect find plain text only."
	@echo ../../../.. > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vmproxy-checkout.pth
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m vmproxy "$$@"\n' > $(BIN)/vmproxy && chmod +x $(BIN)/vmproxy
	@touch $@

USABLE = import pip, sys; sys.exit(sys.prefix == sys.base_prefix)

$(VENV)/tools: $(VENV)/installed
	$(call INSTALL,options.extras_require.test options.extras_require.lint options.extras_require.docs)
	@touch $@

# Installs the requirements that setup.cfg has under the given keys, with a dot now and then; what interrupts it leaves
# a mark. The dots end by themselves with the shell, however that ends.
INSTALL = @printf "Installing into $(VENV); this takes up to a minute "; touch $(VENV)/unfinished; \
	( while kill -0 $$$$ 2>/dev/null; do printf .; sleep 2; done ) & dots=$$!; \
	$(PIP) install $$($(REQUIREMENTS) $(1)); status=$$?; kill $$dots; wait $$dots 2>/dev/null; echo; rm -f $(VENV)/unfinished; exit $$status

# Prints the requirements that setup.cfg has under the given keys.
REQUIREMENTS = $(BIN)/python -c '$(PRINT)'
PRINT = import configparser, sys; c = configparser.ConfigParser(); c.read("setup.cfg"); print(*("".join(r.split()) for a in sys.argv[1:] for r in c[a.rpartition(".")[0]][a.rpartition(".")[2]].split("\n") if r.strip()))
