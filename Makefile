# make demo   set up, invert the HOG of a photograph, say where the report is
# make test   set up, check the style and the types, run all tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROOMS := features inversion baselines benchmarks
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

export OMP_NUM_THREADS ?= 1

.PHONY: demo test check figure wheel clean

demo: $(VENV)/installed
	@$(BIN)/python -m unfeature invert "$$($(BIN)/python -c 'from unfeature.images import bundled_path; print(bundled_path("astronaut"))')" \
		--feature hog -o out/demo

test: check
	$(BIN)/python -m pytest -n 2

check: $(VENV)/tools
	$(BIN)/ruff check .
	@rm -rf $(VENV)/typed && mkdir -p $(VENV)/typed/unfeature
	@ln -s $(CURDIR)/api/* $(addprefix $(CURDIR)/,$(ROOMS)) $(VENV)/typed/unfeature/
	MYPYPATH=$(VENV)/typed $(BIN)/mypy --python-executable $(BIN)/python -p unfeature

figure: $(VENV)/installed
	$(BIN)/python docs/figure.py docs/inversion.png

wheel: $(VENV)/tools
	rm -rf build dist
	$(PIP) wheel --no-deps --wheel-dir dist .
	WHEEL=$$(echo dist/*.whl) $(BIN)/python -m pytest tests/test_wheel.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: setup.py constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/tools: $(VENV)/installed tests/install_vlfeat.sh tests/install_browser.sh
	$(PIP) install --constraint constraints.txt --editable ".[test]"
	@sh tests/install_vlfeat.sh $(BIN)/python
	@sh tests/install_browser.sh
	@touch $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
