# Everything runs inside .venv; a stamp a set of extras says that it is installed as pyproject.toml asks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := models/digits_relu.onnx

.PHONY: demo test slow exporters lint docs notebooks bench models clean

demo: $(VENV)/.base
	$(BIN)/lipcert bound $(MODEL)

# a process a core, and one BLAS thread in each
# which slow tests: all of them
SLOW := tests
SPREAD := OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n auto

test: lint
	$(SPREAD) --dist loadfile

slow: $(VENV)/.dev
	$(SPREAD) -m slow $(SLOW)

exporters: $(VENV)/.exporters
	$(BIN)/pytest tests/importer/test_exporters.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lint-imports tests/cycles.ini
	$(BIN)/python tests/sizes.py
	$(BIN)/python tests/untyped.py

docs: $(VENV)/.docs
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: $(VENV)/.notebooks
	$(BIN)/python notebooks/run.py

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/importing.py
	$(BIN)/python benchmarks/solver.py
	$(BIN)/python benchmarks/models.py
	$(BIN)/python benchmarks/paper.py --to docs
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/peers.py --shared
	$(BIN)/python benchmarks/curves.py
	$(BIN)/python benchmarks/local.py
	$(BIN)/python benchmarks/large.py
	$(BIN)/python benchmarks/robustness.py

models: $(VENV)/.models
	$(BIN)/python -m models

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'lipcert needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# the extras dev, docs, exporters, notebooks, models: a stamp each
$(VENV)/.%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site .cache *.egg-info
