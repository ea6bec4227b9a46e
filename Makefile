# Two commands do all the set-up they need: `make demo` and `make test`.
VENV := .venv/bin

.PHONY: demo test lint types tests compiled bench docs evasion chaos fuzz format clean test-vm deb deb-check rules test-vm-short boot-check

demo: ## two zones in network namespaces, real clients and servers, a table of what passed and what did not
	@tools/setup demo
	@$(VENV)/conduitfw demo

test: ## lints, types, every test; those of the compiled modules on both builds
	@tools/setup test
	@$(MAKE) --no-print-directory lint types tests compiled

lint:
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/lint-imports --no-logo

types:
	$(VENV)/mypy

tests: ## a file beside another, on as many processors as there are; then what needs the machine for itself
	$(VENV)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not alone"
	$(VENV)/python -m pytest -m alone

compiled: ## the package as `pip install` builds it, in build/compiled, and the tests of what is compiled
	@tools/compiled

bench: ## what it costs, beside the floor of NFQUEUE in the same run: a table, bench/results
	@tools/setup bench
	@$(VENV)/python -m bench

# End to end, both families and VLAN, reload, kills, the guard, boot. `VM_TESTS="tests/system tests/kernel"`: all, some hours.
VM_TESTS ?= $(addprefix tests/system/test_,demo_rows.py stock_kernel.py reload.py guard.py boot.py)
test-vm: ## the demo and what depends on the kernel under Debian's own, emulated, no KVM needed: about an hour
	@tools/setup test
	@tools/vm $(VENV)/conduitfw demo
	@tools/vm -t 36000 $(VENV)/python -m pytest -p no:cacheprovider $(VM_TESTS)

docs: ## the generated page
	$(VENV)/python -m conduitfw.protocols.page >docs/names.md

evasion: ## every known way around it, tried with and without the firewall: docs/evasion.md
	@tools/setup test
	@$(VENV)/python -m tests.evasion.table

FAULTS ?=
COUNTS ?=
chaos: ## faults under load, counted: docs/reliability.md (some hours; FAULTS=worker-kill,reload makes a part)
	@tools/setup test
	@$(VENV)/python -m tests.chaos $(if $(FAULTS),--faults $(FAULTS)) $(if $(COUNTS),--counts $(COUNTS))

rules: ## every rule of a TCP stream, taken away in a copy: does a test miss it? `python -m tests.rules WORD` for a part
	@tools/setup test
	@$(VENV)/python -m tests.rules

SECONDS ?= 60
fuzz: ## what breaks it, looked for by atheris: `make fuzz SECONDS=600`
	@tools/setup demo
	@$(VENV)/python -c 'import atheris' 2>/dev/null || $(VENV)/python -m pip install --quiet --group fuzz
	@$(VENV)/python -m fuzz --seconds $(SECONDS)

test-vm-short: ## a part of it that takes some minutes: the demo's rows
	@tools/setup test
	@tools/vm -t 480 $(VENV)/python -m pytest -p no:cacheprovider tests/system/test_demo_rows.py

deb: ## the Debian package, in build/
	@tools/deb

deb-check: ## installs it into a bare Debian in a folder, tries it, removes it
	@tools/deb-check

boot-check: ## boots it twice under Debian's kernel and systemd, in an emulated machine: order, sandbox, kills
	@tools/boot-check

format: ## what `lint` wants
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
