# Each target sets up .venv first: that needs Python 3.11 or newer and a C compiler, nothing else.
#   make mnist ARGS="--epochs 3"     arguments for the example
#   make test ARGS="-k softmax"      arguments for pytest
#   make PYTHON=python3.12 test      another interpreter for a new .venv

PYTHON ?= python3
ARGS ?=
CHECKED_TESTS := tests/ops tests/nn tests/optim tests/cpu/test_public_kernels.py
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help mnist test test-checked bench gpu-compile docs lint clean

help: ## Say what the targets do
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

mnist: $(READY) ## Train the MLP on MNIST and draw its learning curve
	$(RUN) examples/mnist_mlp.py $(ARGS)

test: $(READY) ## Run the tests
	$(RUN) -m pytest -q -n auto --dist worksteal $(ARGS)

test-checked: $(READY) ## Run the tests of ops with every access of every kernel checked
	MINITORCH_TRITON_CHECK=1 $(RUN) -m pytest -q -n auto --dist worksteal $(CHECKED_TESTS) $(ARGS)

bench: $(READY) ## Time the ops and a training step against PyTorch
	$(RUN) -m benchmarks $(ARGS)

gpu-compile: $(READY) ## Compile every kernel for NVIDIA and AMD GPUs; no GPU needed
	$(RUN) -m minitorch_triton.testing.gpu_compile $(ARGS)

docs: $(READY) ## Make the tables, pages and pictures of the documents
	$(RUN) docs/build.py $(ARGS)

lint: $(READY) ## Check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean: ## Remove .venv, caches and what the examples wrote
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build runs *.egg-info

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "minitorch_triton needs Python 3.11 or newer, and $(PYTHON) is not: set PYTHON=..." >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
		{ echo "minitorch_triton needs a C compiler (gcc or clang) to run kernels on a CPU" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
