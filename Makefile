# Everything a newcomer needs: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
CARGO ?= cargo
DEMO_ARGS ?=
BENCH_ARGS ?=

.PHONY: help build demo test test-peers chaos fuzz lint fmt bench bench-tiers clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## Build the release binary, target/release/highwater
	$(CARGO) build --release --locked

demo: build ## Run a whole fleet on this machine (DEMO_ARGS="--duration 90s --json" ends by itself)
	@target/release/highwater demo $(DEMO_ARGS)

test-peers: ## Install the Debian packages that tests run against
	@scripts/install-test-peers

test: test-peers ## Run every test, then fuzz every decoder for a few seconds
	$(CARGO) build --locked --package highwater
	$(CARGO) test --workspace --locked
	FUZZ_SECONDS=5 scripts/fuzz

chaos: test-peers ## Kill, cut off and lie to real processes for long (CHAOS_ROUNDS=10)
	$(CARGO) build --locked --package highwater
	CHAOS_ROUNDS=$${CHAOS_ROUNDS:-10} $(CARGO) test --locked --package tests --test integration -- chaos --nocapture

fuzz: test-peers ## Fuzz every decoder (FUZZ_SECONDS=60, FUZZ_TARGETS="block wal")
	scripts/fuzz

lint: ## Formatting, clippy, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

bench: build ## Measure against the peers that are installed and print a table (BENCH_ARGS="--series 500000 --steps 80")
	$(CARGO) bench --locked --package tests --bench table -- $(BENCH_ARGS)

bench-tiers: build ## Measure delivery from edge to central beside federated Prometheus (BENCH_ARGS="--clusters 100 --seconds 60")
	$(CARGO) bench --locked --package tests --bench tiers -- $(BENCH_ARGS)

clean: ## Remove what was built
	$(CARGO) clean
