# What people call and what CI calls are the same targets; `make` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-builtin-rules

# `make test CARGO_FLAGS=--offline` and the like; --locked: a lock file that is behind fails here and not later.
CARGO_FLAGS ?= --locked
# The lab, its tests and vet share one build of Kubernetes only if they are built with the same flags.
export GOFLAGS := $(filter-out -trimpath -buildvcs=%,$(GOFLAGS)) -trimpath -buildvcs=false
# The real charts, for the tests that need them.
ifeq ($(MESHRUN_CHARTS),)
ifneq ($(wildcard ../shared/charts/istiod-*.tgz),)
export MESHRUN_CHARTS := $(abspath ../shared/charts)
endif
endif

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# What tests take from outside: helm, the runner that test-build made, the real charts.
define TEST_ENV
export MESHRUN_HELM=$$(tests/lab/tools.sh helm)
export MESHRUN_BIN=$(TARGET)/debug/meshrun
echo "real charts: $(or $(MESHRUN_CHARTS),none. Tests that need them check nothing; MESHRUN_CHARTS names a directory)"
endef

LAB_DIR := .cache/lab
# Workspaces of their own, each with a lock file: the SDK's example and the libraries that behave as no plugin should.
SIDE_WORKSPACES := sdk/examples/echo tests/fixtures/plugins
SCRIPTS := .ci/run $(wildcard tools/*.sh tests/lab/*.sh)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the runner and the plugins into target/release
	cargo build --release $(CARGO_FLAGS)

.PHONY: demo
demo: build ## Rehearse pipelines/prod.yaml on a cluster in memory
	@tools/demo.sh pipelines/prod.yaml

.PHONY: test
test: test-rust test-go ## Run all tests, those against a real control plane included

.PHONY: test-build
test-build:
	@# All targets, so that the runner under test, its plugins and the tests are built of the same crates, once.
	cargo build --workspace --all-targets $(CARGO_FLAGS)

.PHONY: test-rust
test-rust: lab-build test-build
	@$(TEST_ENV)
	cargo test --no-fail-fast --workspace $(CARGO_FLAGS)

.PHONY: test-fast
test-fast: test-build ## Run the tests that need no control plane
	@$(TEST_ENV)
	cargo test --no-fail-fast --workspace --exclude meshrun-tests $(CARGO_FLAGS)
	cargo test --no-fail-fast --workspace --test 'cli_*' --test tidy $(CARGO_FLAGS)

.PHONY: test-go
test-go: ## Run the tests of the lab itself
	@# `make lint` vets; vetting here again would look at all of Kubernetes a second time.
	cd tests/lab && go test -vet=off ./...

.PHONY: lint
lint: lint-text lint-rust lint-go deny ## Check formatting, clippy, documentation, licences, scripts

.PHONY: lint-text
lint-text:
	cargo fmt --all --check
	for workspace in $(SIDE_WORKSPACES); do
	    cargo fmt --check --manifest-path $$workspace/Cargo.toml
	done
	for script in $(SCRIPTS); do bash -n $$script; done
	test -z "$$(gofmt -l tests/lab | tee /dev/stderr)"

.PHONY: lint-rust
lint-rust:
	for workspace in . $(SIDE_WORKSPACES); do
	    cargo update --quiet --workspace --locked --manifest-path $$workspace/Cargo.toml
	done
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps $(CARGO_FLAGS)

.PHONY: lint-go
lint-go:
	cd tests/lab && go vet ./...

.PHONY: deny
deny: ## Check licences, bans and sources of the dependencies (no network; CI also checks advisories)
	"$$(tests/lab/tools.sh cargo-deny)" --log-level error check bans licenses sources

.PHONY: charts
charts: ## Pull the charts that the tests know into .cache/charts (for MESHRUN_CHARTS; needs the network)
	tools/charts.sh .cache/charts

.PHONY: lab-build
lab-build:
	@tests/lab/build.sh >/dev/null

.PHONY: lab-up
lab-up: ## Start a real control plane in .cache/lab; the last line is its kubeconfig
	@"$$(tests/lab/build.sh)" up --dir $(LAB_DIR) --detach

.PHONY: lab-down
lab-down: ## End it
	@"$$(tests/lab/build.sh)" down --dir $(LAB_DIR)

.PHONY: bench
bench: build ## Measure meshrun against helm
	cargo run --release -p meshrun-bench $(CARGO_FLAGS)

# Options of the soak: `make soak SOAK="--kills 100 --seconds 1200 --seed 7"`.
SOAK ?=
.PHONY: soak
soak: lab-build test-build ## Kill, restart and disturb many runs (10 minutes) and compare where each of them ends
	@$(TEST_ENV)
	$(TARGET)/debug/meshrun-soak $(SOAK)

.PHONY: clean-cache
clean-cache: ## Remove .cache: helm, the lab, what tests fetched
	@if [[ -e $(LAB_DIR)/lab.json ]]; then $(MAKE) --no-print-directory lab-down; fi
	rm -rf .cache
