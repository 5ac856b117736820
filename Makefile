# `make deploy` sets up and runs the main job, `make test` sets up and tests.
PYTHON := .venv/bin/python
DOIT := .venv/bin/doit

.PHONY: setup deploy test test-all lint firmware nightly bench docs lock clean

setup: .venv/.made-from

.venv/.made-from: requirements.lock pyproject.toml tools/setup.sh
	@sh tools/setup.sh

deploy: setup
	$(DOIT) deploy

test: setup
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: setup
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "long or not long"

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(PYTHON) tools/readme.py --check

firmware: setup
	$(PYTHON) -m k210.firmware

# Every project on every board of boards.yaml; docs/nightly.md.
nightly: setup
	$(DOIT) nightly

bench: setup
	$(PYTHON) bench/noop.py
	$(PYTHON) bench/timing_model.py
	$(PYTHON) bench/reference.py
	$(PYTHON) bench/device.py
	$(PYTHON) bench/flash.py
	$(PYTHON) bench/padding.py --nets v1 --alphas 0.25 --sizes 96x96,224x224 # all: no options

# What is generated and kept in the tree: the YAML's schema and its reference.
docs: setup
	$(PYTHON) -m stages schema >stages/pipeline.schema.json
	$(PYTHON) tools/readme.py

# Needs `uv`; run it after a change of the dependencies.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate --extra onnx --extra virtual --extra dev \
	    --output-file requirements.lock pyproject.toml

clean:
	rm -rf build .doit.db.json
