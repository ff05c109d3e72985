# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
EXTRAS := prep,slides,downstream,tensorboard,hub,explore,docs,test
DEMO := runs/demo

# Read before anything of this package is imported, see cohgen_jax/__init__.py.
export OPENBLAS_THREAD_TIMEOUT ?= 4

.PHONY: demo test test-all check docs tutorials venv clean

demo: $(VENV)/installed
	$(RUN) experiments/train.py --recipe demo --cohort demo --out $(DEMO) --overwrite
	$(RUN) experiments/evaluate.py --run $(DEMO) --no-report
	$(RUN) experiments/downstream.py --run $(DEMO) --quick --no-report
	$(RUN) experiments/report.py --run $(DEMO)

test: $(VENV)/installed
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-all: check
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m ''

check: docs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

tutorials: $(VENV)/installed
	$(RUN) -m benchmarks.tutorials

venv: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache build site *.egg-info
