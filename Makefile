.PHONY: mnist test check oldest format bench accuracy soak fuzz clean
PYTHON ?= python3
BIN := .venv/bin

mnist: .venv/installed    ## train both sides on the 60,000 digits and print the verdict
	$(BIN)/handgrad mnist

test: .venv/installed     ## the whole suite
	$(BIN)/pytest -n 2

check: .venv/installed    ## format, lint, types, import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build/house && mkdir -p build/house
	cp -r handgrad build/house && cp -r compare data manual torch_ref build/house/handgrad  # as they are installed
	$(BIN)/mypy
	cd build/house && ../../$(BIN)/lint-imports ../../pyproject.toml

oldest:                   ## a part of the suite on the oldest versions that pyproject.toml allows (5 GB to install, ten minutes)
	PYTHON=$(PYTHON) .ci/oldest

bench: .venv/installed    ## the tables of the README (about a quarter of an hour); peers: pip install -e '.[bench]'
	$(BIN)/python -m benchmarks.detection.detection
	$(BIN)/python -m benchmarks.detection.rewritten
	$(BIN)/python -m benchmarks.speed.speed_of_check
	$(BIN)/python -m benchmarks.speed.training_step
	$(BIN)/python -m benchmarks.speed.training_step --rule adam
	$(BIN)/python -m benchmarks.speed.certificate
	$(BIN)/python -m benchmarks.speed.scale

accuracy: .venv/installed ## the recipe and plain SGD over eight seeds, every step judged (an hour; goes on where it was cut off)
	$(BIN)/python -m benchmarks.accuracy.accuracy

soak: .venv/installed     ## every combination for 200 steps, no false alarm allowed (about half an hour); 200 kills; 2,000 times Ctrl-C
	$(BIN)/python -m benchmarks.robustness.kill_and_resume
	$(BIN)/python -m benchmarks.robustness.interrupts
	$(BIN)/python -m benchmarks.robustness.false_alarms

fuzz: .venv/installed     ## random shapes, dtypes, strides and values, new ones each time (about twenty minutes)
	$(BIN)/pytest -n 2 tests/checking/test_fuzzing.py --hypothesis-profile=fuzz

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info
