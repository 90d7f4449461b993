# Two commands on a fresh machine: `make demo` and `make test`. The rest is for whoever works on edgeclip.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test slow lint types clean

demo: $(VENV)/.demo
	$(BIN)/edgeclip demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy resolves packages by folder, so it is shown the layout that is installed: see setup.py.
types: $(VENV)/.dev
	mkdir -p build/typed
	rm -rf build/typed/edgeclip && cp -R edgeclip build/typed/edgeclip
	cp -R export profiles build/typed/edgeclip/
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p edgeclip

clean:
	rm -rf build dist *.egg-info runs/demo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -q -e ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@ $(VENV)/.demo
