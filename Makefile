# `make` alone lists the targets. Everything that is made goes to target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Further arguments for the test runner, for example: make test TEST_ARGS=layer::
TEST_ARGS ?=

.PHONY: help demo test check lint fmt bench clean-test-tools

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

bench: ## criterion benches of the hot paths
	$(CARGO) bench --locked

clean-test-tools: ## forget the stand-in base image and what it was made from
	rm -rf "$${CARGO_TARGET_DIR:-target}/test-tools"
