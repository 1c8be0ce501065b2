# Everything a clone needs: it assumes Python 3.11 with venv, make and git, and no C compiler.
# All set-up goes to .venv; its stamp is older than setup.py only until the next `make`.

PYTHON := .venv/bin/python
STAMP  := .venv/.ready

.PHONY: demo test soak bench arm64 clean setup lint

demo: $(STAMP)
	$(PYTHON) -m examples.pos.demo --fetch-arm64

test: $(STAMP) lint
	$(PYTHON) -m pytest -m "not soak" -n 2 --dist loadfile

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

soak: $(STAMP)
	$(PYTHON) -m pytest -m soak --timeout=7200

bench: $(STAMP)
	$(PYTHON) benchmarks/run.py

# An aarch64 Python under qemu, in .arm64, for tests of the other processor.
arm64: $(STAMP)
	$(PYTHON) tools/fetch_arm64.py

setup: $(STAMP)

$(STAMP): setup.py
	test -x $(PYTHON) || python3.11 -m venv .venv || python3 -m venv .venv
	$(PYTHON) -m pip install -qq --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf .venv .arm64 build dist glasc.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
