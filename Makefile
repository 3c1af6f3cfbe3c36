# `make run` and `make test` need python3 (3.11 or newer) and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: run demo test soak bench fuzz lint types format clean

run: $(VENV)/installed
	$(BIN)/twistd -n --pidfile= vmproxy $(ARGS)

demo: $(VENV)/installed
	@$(BIN)/python -m vmproxy demo $(ARGS)

test: $(VENV)/tools
	$(BIN)/python -m pytest $(ARGS)

soak: $(VENV)/tools
	$(BIN)/python -m pytest -m soak -s $(ARGS)

bench: $(VENV)/installed
	@$(BIN)/python -m bench $(ARGS)

# Ten minutes in all, under atheris where pip has it for this machine, else under hypothesis: it says which.
fuzz: $(VENV)/tools
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check $$($(BIN)/python -c '$(REQUIREMENTS)' options.extras_require.fuzz) || true
	@nice $(BIN)/python -m fuzz $(ARGS)

lint: $(VENV)/tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/tools
	$(BIN)/mypy

format: $(VENV)/tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vmproxy needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# What vmproxy needs is installed, vmproxy itself runs from the checkout (PYTHONPATH).
$(VENV)/installed: setup.cfg | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $$($(BIN)/python -c '$(REQUIREMENTS)' options.install_requires)
	@touch $@

$(VENV)/tools: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check $$($(BIN)/python -c '$(REQUIREMENTS)' options.extras_require.test options.extras_require.lint)
	@touch $@

# Prints the requirements that stand in setup.cfg under the given keys.
define REQUIREMENTS
import configparser, sys; c = configparser.ConfigParser(); c.read("setup.cfg"); print(*("".join(r.split()) for a in sys.argv[1:] for r in c[a.rpartition(".")[0]][a.rpartition(".")[2]].split("\n") if r.strip()))
endef
