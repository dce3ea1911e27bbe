# `make quickstart` and `make test` set up everything themselves, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: quickstart long test lint format clean

quickstart: $(VENV)/ready
	$(BIN)/tfkd-data-free --flagfile=examples/quickstart.flags --overwrite

long: $(VENV)/ready
	$(BIN)/tfkd-data-free --flagfile=examples/long.flags --overwrite

test: $(VENV)/ready lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/ready: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test,litert,report]'
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
