# Two verbs are all that a newcomer needs: `make compress LANGUAGE=swahili` and `make test`. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
LANGUAGE ?= swahili
WORKERS ?= 2
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
export TOKENIZERS_PARALLELISM ?= true

.PHONY: help setup compress test check serve stop bench drill docs clean
.DEFAULT_GOAL := help

help:  ## show the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# torch goes first: alone, pip takes exactly the pinned build and no other package can drag in a larger one.
# uv does the same in a fraction of the time where it is there.
UV := $(shell command -v uv)
INSTALL = $(if $(UV),$(UV) pip install -q --python $(BIN)/python,$(BIN)/python -m pip install -q --disable-pip-version-check)
$(READY): pyproject.toml run/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(if $(UV),$(UV) venv -q --seed --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	$(INSTALL) -c constraints.txt torch
	$(INSTALL) -c constraints.txt -e ./run -e '.[dask,dev]'
	touch $@

setup: $(READY)  ## make .venv with the tested versions

compress: $(READY)  ## compress the teacher to LANGUAGE (pocket profile unless NDOGO_PROFILE says otherwise)
	$(BIN)/ndogo compress $(LANGUAGE)

test: $(READY)  ## run the tests, WORKERS files at a time
	$(BIN)/python -m pytest -m 'not real' -n $(WORKERS) --dist loadfile $(ARGS)

check: $(READY)  ## lint, format, types and the architecture rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

serve: $(READY)  ## Prefect, MLflow and the process that runs the deployments, on loopback, looked after
	@exec $(BIN)/ndogo serve

stop: $(READY)  ## stop what `make serve` runs, from any terminal
	$(BIN)/ndogo serve --stop

# Speed and memory, in under half an hour; the races and what needs a teacher of one's own are called by hand.
SPEED := trim distil teacher_cache orchestration forecast gpu
bench: $(READY)  ## measure speed and memory, ours beside the obvious alternative
	for script in $(SPEED); do echo "== $$script" && $(BIN)/python benchmarks/$$script.py || exit 1; done

drill: $(READY)  ## faults, damage, bad and hostile input on small models; the table of docs/reliability.md (ARGS=--short: a few of each)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.drill $(ARGS)

docs: $(READY)  ## refresh the generated pages and prefect.yaml, and build the site into site/
	$(BIN)/python -m ndogo.docs

clean:  ## remove what the tools left; models and runs in .ndogo stay
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
