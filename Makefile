# make demo   set up, invert the HOG of a photograph, say where the report is
# make test   set up, check style, types and imports, run all tests
# make fuzz   try many more hostile files, command lines and kills; SEED=7 tries others
# make tables  run the benchmarks and write docs/tables.md and docs/timings.md; a second run goes on; see docs/benchmarks.md
# make docs   build the pages, the gallery and the API as a site, in build/docs
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROOMS := api features inversion baselines benchmarks
FOLDERS := $(shell find $(ROOMS) -type d -not -name __pycache__)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EDITABLE := --config-settings editable_mode=strict --editable

SEED ?= 0
export OMP_NUM_THREADS ?= 1

.PHONY: demo test fuzz check figure tables docs wheel clean

demo: $(VENV)/installed
	@$(BIN)/python -m unfeature invert "$$($(BIN)/python -c 'from unfeature.io.images import bundled_path; print(bundled_path("astronaut"))')" \
		--feature hog -o out/demo

test: check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/tools
	$(BIN)/python -m ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m mypy -p unfeature
	$(BIN)/basedpyright

fuzz: $(VENV)/tools
	FUZZ_CALLS=3000 FUZZ_FILES=2000 FUZZ_KILLS=50 FUZZ_SEED=$(SEED) FUZZ_SECONDS=7200 \
		$(BIN)/python -m pytest -n 2 tests/test_fuzz.py tests/test_kills.py

figure: $(VENV)/installed
	$(BIN)/python docs/figure.py docs/inversion.png

IMAGES ?= photographs
TRAIN ?= others
WEIGHTS ?= squeezenet1_0.safetensors
TEMPLATES ?= filters
RUNS ?= build/runs
BENCH = $(BIN)/unfeature bench
RUN_TABLES = cvpr2015 ijcv2016 hoggles cnn descriptors

tables: $(VENV)/tools
	$(BENCH) cvpr2015 --images $(IMAGES) --every 5 --weights $(WEIGHTS) --out $(RUNS)/cvpr2015
	$(BENCH) ijcv2016 --images $(IMAGES) --every 20 --count 5 --weights $(WEIGHTS) --templates $(TEMPLATES) --out $(RUNS)/ijcv2016
	$(BENCH) hoggles --images $(IMAGES) --every 10 --train $(TRAIN) --out $(RUNS)/hoggles
	$(BENCH) cnn --images $(IMAGES) --every 50 --net squeezenet1_0 --weights $(WEIGHTS) --layers conv1,fire5,fire9 --C 100 --out $(RUNS)/cnn
	$(BENCH) descriptors --images $(IMAGES) --every 2 --features hog,hogb,dpm,dsift,dsift-gaussian --methods best,fast --out $(RUNS)/descriptors
	$(BENCH) speed --images $(IMAGES) --out $(RUNS)/speed
	$(BENCH) tables $(RUN_TABLES:%=$(RUNS)/%) -o docs/tables.md
	$(BENCH) tables $(RUNS)/speed -o docs/timings.md

docs: $(VENV)/docs
	rm -rf docs/generated
	MPLBACKEND=agg $(BIN)/python -m sphinx -b html -W --keep-going -q -d build/doctrees docs build/docs
	@echo build/docs/index.html

wheel: $(VENV)/tools
	rm -rf dist
	$(BIN)/python -m build .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	WHEEL=$$(echo dist/*.whl) $(BIN)/python -m pytest tests/test_wheel.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A strict editable install links the files that there are: a new file, which changes its folder, installs again.
$(VENV)/installed: setup.py pyproject.toml constraints.txt $(FOLDERS) | $(BIN)/python
	$(PIP) install --constraint constraints.txt $(EDITABLE) .
	@touch $@

$(VENV)/tools: $(VENV)/installed tests/install_vlfeat.sh tests/install_browser.sh
	$(PIP) install --constraint constraints.txt $(EDITABLE) ".[test]"
	@sh tests/install_vlfeat.sh $(BIN)/python
	@sh tests/install_browser.sh
	@touch $@

$(VENV)/docs: $(VENV)/installed
	$(PIP) install --constraint constraints.txt $(EDITABLE) ".[docs]"
	@touch $@

clean:
	rm -rf docs/gallery docs/tour docs/generated $(VENV) build dist out *.egg-info
