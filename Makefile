.PHONY: mnist test check format clean
PYTHON ?= python3
BIN := .venv/bin

mnist: .venv/installed    ## train both sides on the 60,000 digits and print the verdict
	$(BIN)/handgrad mnist

test: .venv/installed     ## the whole suite
	$(BIN)/python -m pytest -n 2

check: .venv/installed    ## format, lint, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_import_arrows.py

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info
