# Needs Python 3.11 or newer with pip, and nothing else; a C++ compiler is used where there is one.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m
SOURCES := streams replay onlineflows tests .ci docs/conf.py
BUILD_FILES := pyproject.toml constraints.txt $(wildcard CMakeLists.txt) \
	$(shell find onlineflows/engine -name '*.cpp' -o -name '*.hpp' -o -name '*.h' 2>/dev/null)
PIP := $(RUN) pip --disable-pip-version-check --quiet
# The default build of torch for Linux brings gigabytes of GPU libraries. PyTorch's installation page
# names an index of builds without them: give its address here to be spared.
TORCH_INDEX ?=

.PHONY: demo setup test test-slow lint format engine-check bench docs clean

demo: $(VENV)/.installed ## a million stand-in events through the wire, then the comparison
	$(VENV)/bin/onlineflows run configs/demo.toml --overwrite
	$(VENV)/bin/onlineflows validate runs/demo --jobs 2

setup: $(VENV)/.installed-dev

test: $(VENV)/.installed-dev ## the quick suite, with the docstring examples
	$(RUN) pytest -m "not slow" --ignore=tests/benchmarks --cov --cov-report=term

test-slow: $(VENV)/.installed-dev
	$(RUN) pytest -m slow --ignore=tests/benchmarks --durations=15

lint: $(VENV)/.installed-dev
	$(RUN) ruff check $(SOURCES)
	$(RUN) ruff format --check $(SOURCES)
	$(RUN) mypy

format: $(VENV)/.installed-dev
	$(RUN) ruff check --fix $(SOURCES)
	$(RUN) ruff format $(SOURCES)

ENGINE_SOURCES := $(wildcard onlineflows/engine/csrc/*)

engine-check: $(VENV)/.installed-dev ## format, sanitizers and clang-tidy over the C++
	$(VENV)/bin/clang-format --dry-run --Werror $(filter %.cpp %.hpp %.h,$(ENGINE_SOURCES))
	$(MAKE) build/address/checked SANITIZE=ON
	$(MAKE) build/thread/checked SANITIZE=thread
	$(VENV)/bin/clang-tidy --quiet -p build/address --extra-arg=-Wno-unknown-warning-option \
		$(filter %.cpp,$(ENGINE_SOURCES))

build/%/checked: $(ENGINE_SOURCES) CMakeLists.txt
	$(VENV)/bin/cmake -S . -B build/$* -DENGINE_SANITIZE=$(SANITIZE) \
		-DENGINE_WARNINGS_ARE_ERRORS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
	$(VENV)/bin/cmake --build build/$* --parallel 2
	$(VENV)/bin/ctest --test-dir build/$* --output-on-failure
	touch $@

bench: $(VENV)/.installed-dev ## what the numbers in the documentation were measured with
	$(RUN) pytest tests/benchmarks -s

docs: $(VENV)/.installed-dev ## the documentation as a site in build/docs; a warning is an error
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

clean:
	rm -rf build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer")'
	@echo "Installing into $(VENV): once, a minute or two"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --retries 1 --no-deps -c constraints.txt $(addprefix --extra-index-url ,$(TORCH_INDEX)) torch
	touch $@

$(VENV)/.installed: $(VENV)/.torch $(BUILD_FILES)
	$(PIP) install -c constraints.txt -e ".[live]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e ".[dev]"
	touch $@
