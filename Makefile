# make            what can be done here
# make demo       a whole study on made-up patients
# PYTHON=...      the Python that a new environment is made with (3.11 to 3.13)
# WHEELS=...      a folder of ready-built wheels, for machines without a C compiler

PYTHON ?=
WHEELS ?=
VENV := .venv
PY := $(VENV)/bin/python
CONFIG := configs/demo.yaml
OUT := runs/demo
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
ENGINE = $$($(PY) -c 'import sys; print("radiomics" if sys.version_info < (3, 12) else "radiomics-next")')
BUILDERS = $$($(PY) -c 'import sys; print("" if sys.version_info < (3, 12) else "scikit-build-core setuptools-scm cmake ninja")')
PIP = PYTHONWARNINGS=ignore $(PY) -m pip install --no-cache-dir --no-compile --no-input --disable-pip-version-check --quiet \
	--constraint constraints.txt $(if $(WHEELS),--find-links $(WHEELS))
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
UNFINISHED := $(VENV)/.unfinished

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo install install-dev test lint types clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1@/p' $(firstword $(MAKEFILE_LIST)) | awk -F@ '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## install, then run a whole study on made-up patients: a few minutes
	@echo "==> Running $(CONFIG) on made-up patients"
	@$(VENV)/bin/trifed simulate $(CONFIG) --out $(OUT) --resume
	@echo "==> The report is in $(abspath $(OUT)):"
	@find "$(abspath $(OUT))" -name '*.html' | grep . || { echo "there is no report: the run did not write one"; exit 1; }

# Python compiles a module when it is first imported; here all of them, for services whose user may not write there.
# Libraries bring some files that are for other versions of Python: that these do not compile is no failure.
install: $(INSTALLED)  ## create .venv if there is none, and install trifed with its radiomics engine
	@echo "==> Compiling Python modules"
	@$(PY) -m compileall -qq -j 0 $(VENV)/lib || true
	@echo "==> Installed: $(VENV)/bin/trifed"

install-dev: $(INSTALLED_DEV)  ## the same with what the tests and Flower's simulation need
	@echo "==> Installed for development: $(VENV)"

test: lint types  ## install-dev, lint, types, then all tests
	@echo "==> Running the tests"
	@OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: $(INSTALLED_DEV)  ## check style and format (ruff)
	@echo "==> Checking style"
	@$(PY) -m ruff check .
	@echo "==> Checking format"
	@$(PY) -m ruff format --check .

types: $(INSTALLED_DEV)  ## check types (mypy)
	@echo "==> Checking types"
	@$(PY) -m mypy

clean:  ## remove the environment and what tools left behind; results in runs/ stay
	@echo "==> Removing $(VENV), build folders and the tools' caches"
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(call environment)
	@$(call compiler)
	@touch $(UNFINISHED)
	@echo "==> Installing pip, numpy and the build tools"
	@$(PIP) pip setuptools wheel numpy $(BUILDERS)
	@echo "==> Installing trifed and its libraries, compiling the radiomics engine (some minutes)"
	@$(PIP) --no-build-isolation --editable ".[$(ENGINE)]"
	@rm -f $(UNFINISHED)
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@touch $(UNFINISHED)
	@echo "==> Installing what development and Flower's simulation need"
	@$(PIP) --no-build-isolation --editable ".[$(ENGINE),dev,flower,onnx,tracking]"
	@rm -f $(UNFINISHED)
	@touch $@

# A working environment: the one there is, or a new one if there is none, if its Python does not
# run, or if an installation into it was cut off.
define environment
if [ -e $(UNFINISHED) ]; then \
	echo "==> The last installation was cut off; starting afresh"; \
elif $(PY) -m pip --version >/dev/null 2>&1; then \
	$(PY) -c '$(SUPPORTED)' && exit 0; \
	echo "$(VENV) has $$($(PY) --version), but trifed needs 3.11, 3.12 or 3.13. Remove it with: make clean" >&2; \
	exit 1; \
fi; \
for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3.13 python3 python); do \
	if "$$python" -c '$(SUPPORTED)' >/dev/null 2>&1; then \
		echo "==> Creating $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV) && exit 0; \
		echo "Python could not create $(VENV); on Debian and Ubuntu its package python3-venv is needed." >&2; \
		exit 1; \
	fi; \
done; \
echo "trifed needs Python 3.11, 3.12 or 3.13, and $(if $(PYTHON),$(PYTHON) is none of these,none was found)." >&2; \
echo "Install one, or name it: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3.11" >&2; \
exit 1
endef

# The radiomics engine is compiled C: say what is missing before anything is downloaded.
define compiler
$(if $(WHEELS),exit 0;) \
if $(PY) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("radiomics") is None)'; then exit 0; fi; \
missing=$$($(PY) -c 'import os, pathlib, shutil, sysconfig; \
cc = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]; \
header = pathlib.Path(sysconfig.get_path("include"), "Python.h"); \
print("; ".join(([] if shutil.which(cc) else ["no C compiler " + cc]) + ([] if header.exists() else ["no header " + str(header)])))'); \
[ -z "$$missing" ] && exit 0; \
echo "The radiomics engine is compiled during installation, but there is: $$missing." >&2; \
echo "Install them (Debian and Ubuntu: gcc and python3-dev; macOS: xcode-select --install)," >&2; \
echo "or give a folder with a wheel built on a machine like this one: make $(or $(MAKECMDGOALS),install) WHEELS=folder" >&2; \
exit 1
endef
