# Every target sets itself up in .venv on a fresh machine; nothing else is needed but Python 3.11 and, for the fast
# kernels, a C++17 compiler.
PYTHON ?= python3
VENV ?= .venv
# Processes of the tests; each takes one core and about 1 GB.
WORKERS ?= 2
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := $(shell find kernels -type f) CMakeLists.txt pyproject.toml constraints.txt

.PHONY: demo test test-long bench fuzz soak lint format cuda-check clean
.DEFAULT_GOAL := demo

$(READY): $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# A red mug in outputs/demo; a second call goes on where the first one stopped.
demo: $(READY)
	$(BIN)/dreamkit generate "a red mug" --seed 0 --out outputs/demo --resume
	$(BIN)/dreamkit evaluate outputs/demo

test: $(READY) node_modules/.ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

# What takes minutes a test: kinds of field until they reach their cards' quality.
test-long: $(READY)
	$(BIN)/python -m pytest -m long --timeout 1800 $(TESTS)

# Numbers of the README's tables; writes docs/results/.
bench: $(READY)
	$(BIN)/python benchmarks/speed/kernels.py
	$(BIN)/python benchmarks/speed/step.py

# Ten minutes each of random damage to everything that reads strangers' input; fails on a crash, an escape, or a
# refusal without words.
MINUTES ?= 10
fuzz: $(READY)
	for target in importers recipes prompts app; do \
	  $(BIN)/python benchmarks/robustness/fuzz.py $$target --minutes $(MINUTES) || exit 1; done

# Batches that are killed at random and a server that never rests; fails where a prompt is lost or doubled, or where
# memory or open files keep growing.
soak: $(READY)
	$(BIN)/python benchmarks/robustness/soak.py --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compile the CUDA kernels; needs nvcc, but no GPU.
cuda-check:
	bash benchmarks/speed/cuda_check.sh

# The Khronos validator and three.js, for the tests of exported GLB files. Without npm those are skipped and say so.
node_modules/.ready:
	mkdir -p node_modules
	if command -v npm > /dev/null; then npm install --silent --no-save --no-package-lock gltf-validator@2.0.0-dev.3.10 three@0.187.0; fi
	touch node_modules/.ready

clean:
	rm -rf $(VENV) build node_modules
