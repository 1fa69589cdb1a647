# `make` alone lists the targets. Everything that is made goes to target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Further arguments for the test runner, for example: make test TEST_ARGS=layer::
TEST_ARGS ?=

.PHONY: help demo test check lint fmt bench fuzz nightly clean-test-tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build and push the sample app through a local registry, run it, ask its health
	@tests/tools/demo.sh

test: ## install what the tests need from Debian's packages, then run all tests
	@tests/tools/packages.sh
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked $(TEST_ARGS); \
		$(CARGO) test --locked --quiet --doc; \
	else \
		$(CARGO) test --locked $(TEST_ARGS); \
	fi

check: lint test ## what CI runs: format, clippy and docs without warnings, all tests

lint: ## the part of check that runs nothing: format, clippy, docs
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

fmt: ## format the code
	$(CARGO) fmt

FUZZ_TARGETS := parser expansion ignore archive layer_index manifest image_reference
# Seconds per target, for example: make fuzz FUZZ_SECONDS=5
FUZZ_SECONDS ?= 60
# What cargo-fuzz passes, without what only nightly compilers take.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=4 \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares

fuzz: ## libFuzzer on every parser of foreign input (needs a C++ compiler)
	@target="$${CARGO_TARGET_DIR:-$$PWD/target}/fuzz"; \
	triple=$$(rustc --version --verbose | sed -n 's/^host: //p'); \
	RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --release --bins --manifest-path fuzz/Cargo.toml \
		--target "$$triple" --target-dir "$$target"; \
	for name in $(FUZZ_TARGETS); do \
		echo "== $$name"; \
		mkdir -p "$$target/corpus/$$name" "$$target/artifacts/$$name"; \
		"$$target/$$triple/release/$$name" -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
			-verbosity=0 -print_final_stats=1 -dict=fuzz/dockerfile.dict -artifact_prefix="$$target/artifacts/$$name/" \
			"$$target/corpus/$$name"; \
	done

nightly: ## what takes too long for every run: 1,000 pairs of cached and uncached builds
	COOPER_SOUNDNESS_PAIRS=1000 $(CARGO) test --locked --test it cache::soundness:: -- --nocapture

bench: ## criterion benches of the hot paths
	$(CARGO) bench --locked

clean-test-tools: ## forget the stand-in base image and what it was made from
	rm -rf "$${CARGO_TARGET_DIR:-target}/test-tools"
