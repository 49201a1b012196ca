# Everything a fresh machine needs is Python >= 3.11 and make. Two commands matter: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-dev test-all test-gpu test-ollama test-vllm coverage lint types docs pictures bench proof wheel-test clean help

help:
	@echo "make demo       a tour: what survives, what is caught, live (needs no model)"
	@echo "make test       the tests, all that this machine can run in a few minutes"
	@echo "make test-dev   the fast part: no process, no socket, no torch"
	@echo "make test-all   everything, with the tests that take real minutes"
	@echo "make test-gpu   the training guard on CUDA"
	@echo "make test-ollama  the gateway before a real Ollama, whose address is in OLLAMA_HOST"
	@echo "make test-vllm  a real vLLM that sleeps and wakes, where there is CUDA"
	@echo "make coverage   every branch of the core is taken by its own tests"
	@echo "make lint       ruff     make types   mypy     make docs   the pages made from the code     make bench   the benchmarks"
	@echo "make pictures   the pictures of the dashboard in the docs, taken anew by a real browser"
	@echo "make proof      the proof of intent: 20 MB of healthy text, loops of every period (minutes)"

demo: $(VENV)/.gateway
	@$(BIN)/hangtight demo

test: $(VENV)/.training
	$(BIN)/python -m pytest -m "not slow and not ollama and not vllm and not gpu"

test-dev: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow and not real and not ollama and not vllm and not gpu and not torch"

test-all: $(VENV)/.training
	$(BIN)/python -m pytest -m "not ollama and not vllm and not gpu"

test-gpu: $(VENV)/.training
	$(BIN)/python -m pytest -m gpu tests/training

test-ollama: $(VENV)/.test
	$(BIN)/python -m pytest -m ollama tests/gateway/test_ollama.py

test-vllm: $(VENV)/.test
	$(BIN)/python -m pytest -m vllm tests/supervisor/test_vllm.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy --platform win32 src
	$(BIN)/python -m mypy --platform darwin src

coverage: $(VENV)/.test
	$(BIN)/python -m coverage run --source=src/hangtight/core -m pytest tests/core -q
	$(BIN)/python -m coverage report --show-missing --fail-under=100

docs: $(VENV)/.test
	$(BIN)/python docs/make_time_contract.py
	$(BIN)/python docs/make_sdks.py
	$(BIN)/python docs/make_gateway_table.py
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_env.py
	$(BIN)/python docs/make_errors.py

pictures: $(VENV)/.test
	$(BIN)/python docs/make_pictures.py

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

proof: $(VENV)/.test
	$(BIN)/python -m benchmarks.intent

wheel-test:
	$(PYTHON) .ci/wheel_test.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "hangtight needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@touch $@

$(VENV)/.gateway: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[gateway]"
	@touch $@

$(VENV)/.cli: pyproject.toml | $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[cli]"
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.cli
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[cli]" --group test
	@touch $@

$(VENV)/.training: pyproject.toml $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group training
	@touch $@

$(VENV)/.lint: pyproject.toml $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lint
	@touch $@
