.PHONY: mnist test check format bench bench-speed bench-peers soak clean
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

bench: .venv/installed    ## the tables of the README (about ten minutes)
	$(BIN)/python benchmarks/detection.py
	$(BIN)/python benchmarks/speed_of_check.py

bench-speed: .venv/installed  ## the tables of speed, beside the libraries that are installed (about five minutes)
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/training_step.py --rule adam
	$(BIN)/python benchmarks/certificate.py
	$(BIN)/python benchmarks/scale.py

bench-peers: .venv/installed  ## the libraries that bench-speed compares with
	$(BIN)/python -m pip install --quiet --editable '.[bench]'

soak: .venv/installed     ## every combination for 200 steps, no false alarm allowed (about half an hour)
	$(BIN)/python benchmarks/false_alarms.py

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
