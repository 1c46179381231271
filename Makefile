# Everything sets itself up, once, on a machine that has only make and Python 3.11 or later. Another Python: make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test lint soak bench clean

help:
	@echo "make demo   makes DICOM files, shards and a trained network, with pictures and a page in demo/"
	@echo "make test   ruff, mypy --strict and the tests: what CI runs"
	@echo "make soak   the tests that take minutes"
	@echo "make bench  slices per second on this machine"
	@echo "make clean  removes what these made"

demo: $(READY)
	$(BIN)/python -m radload.demo --out demo

test: lint
	$(BIN)/python -m pytest -m "not soak" --numprocesses=auto --maxprocesses=8 --dist=worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p radload

soak: $(READY)
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m pytest -m "hypothesis and not soak" --hypothesis-profile=new

bench: $(READY)
	$(BIN)/python -m pytest benchmarks

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "radload needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

clean:
	if [ -x $(BIN)/python ] && [ -e demo ]; then $(BIN)/python -m radload.demo --out demo --remove; fi
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
