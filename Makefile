# `make demo` and `make test` set themselves up first; what is there already is not done again.
.DEFAULT_GOAL := help
.PHONY: setup demo lab test lint types format clean help

PY := .venv/bin/python
FITS := import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))
# A name on PATH is not enough: version managers leave names there that only print an error.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c '$(FITS)' 2>/dev/null && command -v $$name && break; done)

setup:  ## make .venv ready, with the pinned packages (TORCH_INDEX_URL=... chooses a build of PyTorch)
	@python="$(PYTHON)"; test -n "$$python" || { echo "Python 3.11, 3.12 or 3.13 is needed;" \
		"if it is not on PATH: make setup PYTHON=/path/to/python3"; exit 1; }; $$python kit/doctor.py setup

demo: setup  ## from an idea to a reviewed paper, without a key: outputs/demo
	@$(PY) -m kit run --template diffusion_2d --model offline --num_ideas 1 --run_dir outputs/demo

lab: setup  ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb \
		$$(test "$$(id -u)" != 0 || echo --allow-root)

test: setup lint  ## run all tests
	@$(PY) -m pytest

lint: setup  ## look for mistakes and for lines that are not formatted
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet .

types: setup  ## check the types; the checker fetches itself at its first use
	@$(PY) -m pyright

format: setup  ## format the code and clear the notebooks' outputs
	@$(PY) -m ruff check --fix --quiet .
	@$(PY) -m ruff format .
	@$(PY) -m nbstripout --keep-id notebooks/*.ipynb

clean:  ## remove .venv and caches; outputs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
