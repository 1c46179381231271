# Everything sets itself up on a machine that has only Python 3.11 or later: a virtual environment in .venv, made once.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint soak bench clean

demo: $(READY)  ## makes demo/: real DICOM files, shards, a trained network, pictures and demo/report.html
	$(BIN)/python -m radload.demo --out demo

test: lint  ## ruff, mypy --strict and the tests
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(READY)  ## what takes too long for every change
	$(BIN)/python -m pytest -m soak

bench: $(READY)  ## slices per second on this machine
	$(BIN)/python -m pytest benchmarks

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
