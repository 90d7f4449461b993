# Two commands on a fresh machine: `make demo` and `make test`. The rest is for whoever works on edgeclip.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test slow oldest gpu mutants aarch64 lint types docs typed clean

demo: $(VENV)/.demo
	$(BIN)/edgeclip demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# Every version that pyproject.toml begins at, at once, on the oldest Python: needs python3.10.
oldest:
	python3.10 -m venv --clear build/oldest
	build/oldest/bin/python -m pip install --quiet uv
	build/oldest/bin/uv pip install --quiet --python build/oldest --resolution lowest-direct pip -e ".[dev]"
	build/oldest/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

# On a machine with an NVIDIA GPU.
gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu

# Do the tests see mistakes? First the silent ones that were thought of, then every small change to the modules that carry
# the project's claims ([tool.mutmut] in pyproject.toml); an hour and a half. Survivors: benchmarks/LOG.md.
mutants: $(VENV)/.dev
	$(BIN)/python benchmarks/hand_mutants.py
	rm -rf build/mutation && mkdir -p build/mutation
	cp -R edgeclip tests examples pyproject.toml build/mutation/ && cp -R export build/mutation/edgeclip/exporting && cp -R profiles build/mutation/edgeclip/
	cd build/mutation && OMP_NUM_THREADS=1 ../../$(BIN)/mutmut run
	cd build/mutation && ../../$(BIN)/mutmut results

# An emulated ARM device verifies a bundle: needs apt-get and qemu-user-static.
aarch64: $(VENV)/.dev
	sh tests/measurement/emulated/prepare.sh build/aarch64 $(BIN)/python
	$(BIN)/python -m pytest -m slow tests/measurement/test_aarch64.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy and mkdocstrings resolve packages by folder, so they are shown the layout that is installed: see setup.py.
typed:
	mkdir -p build/typed
	rm -rf build/typed/edgeclip && cp -R edgeclip build/typed/edgeclip
	cp -R export build/typed/edgeclip/exporting && cp -R profiles build/typed/edgeclip/

# TensorRT's stubs lie beside no mark that mypy would find them by (py.typed), so they are put on its path; five lines of
# 10.13's are no Python.
STUBS = $(shell $(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
types: $(VENV)/.dev typed
	rm -rf build/stubs && mkdir build/stubs && cp -R $(STUBS)/tensorrt $(STUBS)/tensorrt_bindings build/stubs/
	sed -i.bak "s/ in: list/ inputs: list/; s/, channel_axis: int)/, channel_axis: int = 0)/" build/stubs/tensorrt_bindings/*.pyi
	cd build/typed && MYPYPATH=../stubs ../../$(BIN)/mypy --config-file ../../pyproject.toml -p edgeclip

# The documentation site, into build/site; a link that leads nowhere is an error.
docs: $(VENV)/.dev typed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf build dist *.egg-info runs/demo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -q -e ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -q -e ".[dev]"
	$(BIN)/python -m pip install -q --no-deps "tensorrt-stubs>=10.13,<11"  # what it depends on is TensorRT itself
	touch $@ $(VENV)/.demo
