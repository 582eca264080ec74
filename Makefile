# The only commands people need. `make run` and `make test` prepare everything else by themselves.
PYTHON   ?= python3
VENV     ?= .venv
LEO_VENV ?= .venv-leo
BENCH_VENV := $(VENV)-bench
FUZZ_VENV  := .venv-fuzz
BIN      := $(VENV)/bin

.PHONY: help run test check format lint types venv cov bench bench-compare relay fuzz hunt load soak sim crash sweep mutants leo man pictures dist install uninstall lock clean

run: $(VENV)/.run  ## a leo-like organism replies, then dreams, through a real daemon; state in state/
	@"$(BIN)/dreamctl" --state-dir state demo $(ARGS)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

test: venv  ## the whole suite in a random order, by four processes
	@"$(BIN)/python" -m pytest -n 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

venv: $(VENV)/.test  ## .venv with the project (editable) and the test tools

# Locks are installed as they are. A resolver would look at the index, and refuse the lock when the index has moved on.
# Python compiles what the demo imports when it imports it; pip would compile numpy's own tests too, for seconds.
INSTALL := "$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps
COMPILE := "$(BIN)/python" -m compileall -q -j 0 -x '/(tests|pip)/' "$(VENV)/lib" || true
CHECK   := "$(BIN)/python" -m pip --disable-pip-version-check check
FAILED  := { echo '$(VENV) could not be prepared. pip says why above. Packages come from the network: try again, or `make clean` first.' >&2; exit 1; }

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dreamd needs Python 3.11 or newer. Name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "preparing $(VENV) (once)..."
	@"$(PYTHON)" -m venv "$(VENV)" || \
	  { echo "This Python cannot make a virtual environment (on Debian: apt install python3-venv)." >&2; exit 1; }

$(VENV)/.run: pyproject.toml requirements/run.lock | $(VENV)/bin/python
	@$(INSTALL) --require-hashes -r requirements/run.lock || $(FAILED)
	@$(INSTALL) --no-build-isolation -e . || $(FAILED)
	@$(CHECK) >/dev/null || $(CHECK) || $(FAILED)
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements/test.lock
	@echo "adding the test tools (once)..."
	@$(INSTALL) --require-hashes -r requirements/test.lock || $(FAILED)
	@$(COMPILE)
	@$(CHECK) >/dev/null || $(CHECK) || $(FAILED)
	@touch $@

check: lint types test  ## all that a change must pass: lint, types and the suite

format: venv  ## formats the code, and mends what ruff can mend safely
	@"$(BIN)/ruff" check --fix-only .
	@"$(BIN)/ruff" format .

lint: venv  ## ruff: rules and format
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .

types: venv  ## mypy --strict on both packages
	@"$(BIN)/mypy"

cov: venv  ## the suite with branch coverage of both packages, daemon processes included
	@"$(BIN)/coverage" erase
	@"$(BIN)/coverage" run -m pytest -q $(ARGS)
	@"$(BIN)/coverage" combine -q
	@"$(BIN)/coverage" report

MINUTES ?= 10
SEED ?= 1

fuzz: $(FUZZ_VENV)/.made  ## coverage-guided fuzzing of wire, settings, inbox, redaction, stored values: make fuzz MINUTES=10
	@"$(FUZZ_VENV)/bin/python" -m tests.fuzz.run --minutes $(MINUTES) $(ARGS)

# Atheris exists for some Pythons only. It is no part of the locks, which every Python must be able to install.
$(FUZZ_VENV)/.made: requirements/fuzz.txt requirements/run.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))' || \
	  { echo "make fuzz needs Python 3.11, 3.12 or 3.13, for which atheris exists: make fuzz PYTHON=python3.11" >&2; exit 1; }
	@echo "preparing $(FUZZ_VENV) (once)..."
	@"$(PYTHON)" -m venv "$(FUZZ_VENV)"
	@"$(FUZZ_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/run.lock
	@"$(FUZZ_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@"$(FUZZ_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements/fuzz.txt || \
	  { echo "atheris cannot be installed for this Python: make fuzz PYTHON=python3.11" >&2; exit 1; }
	@touch $@

load: venv  ## crowds, floods, invented names and lies at a daemon, beside a healthy leo: two minutes
	@"$(BIN)/python" -m tests.load.run --seed $(SEED) $(ARGS)

soak: venv  ## a year of a leo in compressed time, with and without a consumer of the inbox: ten minutes
	@"$(BIN)/python" -m tests.soak.run --seed $(SEED) $(ARGS)

hunt: venv  ## long hunts: new examples for every property, every fault at every system call
	@HYPOTHESIS_PROFILE=hunt HUNT=1 "$(BIN)/python" -m pytest -q tests/client tests/dream tests/wire tests/inbox tests/faults \
	  tests/daemon/test_any_values.py tests/daemon/test_lifecycle.py \
	  tests/promises $(ARGS)

RUNS ?= 1000

sim: venv  ## whole histories in a simulated world, from one seed each: make sim SEED=1 RUNS=1000
	@"$(BIN)/python" -m tests.sim.run --seed $(SEED) --runs $(RUNS) $(ARGS)

N ?= 100

crash: venv  ## kill a real daemon again and again, and check after each kill: make crash N=100 SEED=1
	@"$(BIN)/python" -m tests.crash.run --kills $(N) --seed $(SEED) $(ARGS)

sweep: venv  ## fail each call of a scenario in turn, with each error that it can give: half an hour
	@"$(BIN)/python" -m tests.sweep.run $(ARGS)

mutants: venv  ## put faults into the code one at a time, and let the tests find them: half an hour; ARGS="inbox wire"
	@"$(BIN)/python" -m tests.mutants.run $(ARGS)

bench: venv $(BENCH_VENV)/.made  ## figures beside peers, ten minutes: docs/performance.md; QUICK=1: one minute, no peers; of another Python: VENV=.venv-3.13 PYTHON=python3.13
	@"$(BIN)/python" -m tests.bench $(if $(QUICK),--quick) $(ARGS)

RELAY_FILES ?= 9999
RELAY_KILLS ?= 50

relay: venv  ## the relay on a real NATS server: 10,000 files, 50 kills at random, and its rate beside a bare publisher
	@RELAY_FILES=$(RELAY_FILES) RELAY_KILLS=$(RELAY_KILLS) "$(BIN)/python" -m pytest -q -s tests/ctl/commands/inbox/relay/test_kills.py $(ARGS)
	@"$(BIN)/python" -m tests.ctl.commands.inbox.relay.rate

bench-compare: venv $(BENCH_VENV)/.made  ## the figures against those of an earlier run: BASE=FILE, of ARGS="--json FILE"
	@test -f "$(BASE)" || { echo "make bench-compare BASE=FILE: say which file make bench ARGS='--json FILE' wrote" >&2; exit 2; }
	@"$(BIN)/python" -m tests.bench $(if $(QUICK),--quick) --compare "$(BASE)" $(ARGS)

# The peers, each for itself: one that cannot be installed here is named as absent in the tables.
$(BENCH_VENV)/.made: requirements/bench.txt | $(VENV)/bin/python
	@"$(BIN)/python" -m venv "$(BENCH_VENV)"
	@while read -r peer; do "$(BENCH_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check $$peer \
	  || echo "$$peer cannot be installed here" >&2; done < requirements/bench.txt
	@touch $@

man: venv  ## the manual pages, from the texts of --help and the settings
	@"$(BIN)/python" man/write.py man

pictures: venv  ## the pictures of the README, from a real run; that of the report needs Chromium
	@"$(BIN)/python" -m docs.pictures.write

leo: venv  ## what dreaming does to a real leo: make leo LEO=PATH_OF_HIS_CHECKOUT; an hour
	@test -f "$(LEO)/leo.py" || { echo "make leo LEO=PATH: say where a checkout of leo is" >&2; exit 2; }
	@$(MAKE) --no-print-directory $(LEO_VENV)/.made
	@"$(BIN)/python" -m tests.leo.health "$(LEO)" --python "$(abspath $(LEO_VENV))/bin/python" $(ARGS)

$(LEO_VENV)/.made:
	@"$(PYTHON)" -m venv "$(LEO_VENV)"
	@"$(LEO_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check numpy sentencepiece aiosqlite msgpack
	@touch $@

dist: venv  ## wheels and source archives of both distributions, in dist/
	@"$(BIN)/python" -m build --no-isolation --outdir dist client
	@"$(BIN)/python" -m build --no-isolation --outdir dist .

install: venv  ## dreamd as a user service of systemd, from this checkout
	@"$(BIN)/dreamctl" service install

uninstall: venv  ## removes that service; dreams stay
	@"$(BIN)/dreamctl" service uninstall

LOCK := compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
  --no-header --no-annotate --quiet

lock:  ## both locks: names, versions and hashes; run.lock for `make run`, test.lock for what `make test` adds
	@"$(PYTHON)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@echo "hatchling>=1.27" | .venv-lock/bin/uv pip $(LOCK) pyproject.toml - -o requirements/run.lock
	@.venv-lock/bin/uv pip $(LOCK) pyproject.toml --extra test -c requirements/run.lock -o requirements/test.lock \
	  $$(sed -n 's/^\([a-z0-9._-]*\).*==.*/--no-emit-package \1/p' requirements/run.lock)

clean:  ## removes the environments, caches and dist/; dreams in state/ stay
	rm -rf "$(VENV)" "$(LEO_VENV)" "$(BENCH_VENV)" "$(FUZZ_VENV)" .venv-lock .fuzz dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
