# The two commands: `make demo` and `make test`. Each sets up .venv first, with nothing needed but Python 3.11+ and pip.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-slow lint format clean

help:
	@echo "make demo       train LeNet-5 on scikit-learn's digits, evaluate, predict, draw"
	@echo "make test       lint, types, the import contract and the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make format     put the code into the house's format"

# The stamp is newer than what it was made from, or the environment is made again.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neocog needs Python 3.11 or newer; say which with: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/ready
	$(BIN)/neocog demo

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist worksteal

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
