# Every target works alone from a clean clone: what it needs it sets up first, and says so.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo fleet test lint bench chaos setup clean

NEXTEST_VERSION := 0.9.143
DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)

help: ## What there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

demo: ## Run a real migration, with a kill and a resume on purpose
	@examples/demo.sh

test: setup-nextest ## Every test
	@deploy/nats/install.sh $(TOOLS) || echo "tests over NATS are left out"
	@if command -v npm >/dev/null; then echo "tests install agent programs at pinned versions from npm into target/agents"; \
	  else echo "npm is missing: tests of agent programs are left out"; fi
	cargo nextest run --workspace --all-targets

lint: setup-deny ## Format, clippy, licences and bans
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --log-level error check bans licenses sources

chaos: setup-nats ## Rounds of chaos: SEEDS=N of SUBTASKS=200, or one again with SEED=n
	cargo run -p longhaul-tests --bin chaos

fleet: ## The demo on NATS, a coordinator and three workers; one of them is killed
	@examples/fleet.sh

bench: setup-nats ## Measurements, as ratios (docs/benchmarks.md)
	cargo build --release -p longhaul-tests --bin bench -p longhaul --bin longhaul
	target/release/bench $(ARGS)

.PHONY: setup-nextest setup-deny setup-nats
setup-nextest:
	@command -v cargo-nextest >/dev/null || { echo "installing cargo-nextest $(NEXTEST_VERSION) into target/tools"; \
	  cargo install --locked --root $(TOOLS) --target-dir target/tools-build cargo-nextest@$(NEXTEST_VERSION); }

setup-deny:
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny $(DENY_VERSION) into target/tools"; \
	  cargo install --locked --debug --root $(TOOLS) --target-dir target/tools-build cargo-deny@$(DENY_VERSION); }

setup-nats:
	@deploy/nats/install.sh $(TOOLS)

setup: setup-nextest setup-deny setup-nats ## The tools of test and lint

clean: ## Remove what was built
	cargo clean
