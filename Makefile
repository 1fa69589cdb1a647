# `make` alone lists the targets. Everything that is made goes to target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Further arguments for the test runner, for example: make test TEST_ARGS=layer::
TEST_ARGS ?=

.PHONY: help demo demo-serve image test check lint fmt bench bench-serve microbench fuzz nightly clean-test-tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build and push the sample app through a local registry, run it, ask its health
	@tests/tools/demo.sh

demo-serve: ## a registry and the service on loopback, and a curl line that builds and pushes
	@tests/tools/packages.sh demo
	@tests/tools/demo-serve.sh

# Where the image is pushed to, for example: make image PUSH=registry.example.com/tools/cooper:0.1.0
PUSH ?=

image: ## Cooper's own image for amd64 and arm64, built by Cooper; PUSH=NAME:TAG pushes it
	@PUSH='$(PUSH)' image/make.sh

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

FUZZ_TARGETS := parser plan expansion context ignore archive layer_index cache_entry manifest image_reference
# Seconds per target, for example: make fuzz FUZZ_SECONDS=5
FUZZ_SECONDS ?= 60
# What cargo-fuzz passes, without what only nightly compilers take.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=4 \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares

# Targets at a time.
FUZZ_JOBS ?= 2

fuzz: ## libFuzzer on every parser of foreign input, a minute for each
	@tests/tools/packages.sh build fuzz
	@target="$${CARGO_TARGET_DIR:-$$PWD/target}/fuzz"; \
	triple=$$(rustc --version --verbose | sed -n 's/^host: //p'); \
	RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --release --bins --manifest-path fuzz/Cargo.toml \
		--target "$$triple" --target-dir "$$target"; \
	printf '%s\n' $(FUZZ_TARGETS) | xargs -P $(FUZZ_JOBS) -I{} \
		tests/tools/fuzz.sh "$$target/$$triple/release/{}" "$$target" $(FUZZ_SECONDS)

nightly: ## what takes too long for every run: 1,000 pairs of cached and uncached builds; the service under load, killed
	COOPER_SOUNDNESS_PAIRS=1000 $(CARGO) test --locked --test it cache::soundness:: -- --nocapture
	COOPER_SERVE_KILLS=50 COOPER_SERVE_UPLOAD=524288000 \
		$(CARGO) test --locked --test it serve:: -- --nocapture --test-threads 2

microbench: ## criterion benches of the hot paths
	$(CARGO) bench --locked

# Where kaniko-VERSION, buildctl and buildkitd are, for example: make bench PEERS=/opt/peers
PEERS ?=
# Where the base images are, or are put.
BENCH_BASES ?= $${CARGO_TARGET_DIR:-target}/bench/bases
# What the targets need; BENCH_CASES= measures every case with every builder, each cold, warm and cached.
BENCH_CASES ?= sample=cold sample=warm,kept@cooper,buildkit,buildah sample=cached@cooper,buildkit,kaniko-1.28 \
	copy=edited@cooper,buildkit,kaniko-1.28 debian=cold@cooper,buildkit,kaniko-1.28 \
	files=cold@cooper,buildkit,kaniko-1.28 large=cold@cooper,kaniko-1.28 \
	stages=cold@cooper,buildkit layers=cold@cooper,buildkit
BENCH_RUNS ?= 5

bench: ## Cooper beside Buildah, and beside Kaniko and BuildKit where PEERS has them: writes docs/benchmarks.md
	@tests/tools/packages.sh bench
	$(CARGO) build --release --locked --bin cooper
	@target="$${CARGO_TARGET_DIR:-target}"; bases="$(BENCH_BASES)"; \
	tests/tools/bench-bases.sh "$$bases" "$$target/release/cooper"; \
	arguments=(); \
	for case in $(BENCH_CASES); do arguments+=(--case "$$case"); done; \
	for kaniko in $(PEERS)/kaniko-*; do \
		[ ! -x "$$kaniko" ] || arguments+=(--kaniko "$${kaniko##*/kaniko-}=$$kaniko"); \
	done; \
	[ ! -x "$(PEERS)/buildkitd" ] || arguments+=(--buildkitd "$(PEERS)/buildkitd" --buildctl "$(PEERS)/buildctl"); \
	"$$target/release/cooper" bench --runs $(BENCH_RUNS) --buildah buildah "$${arguments[@]}" \
		--bases "$$bases" --work "$$target/bench/work" --notes docs/benchmarks-notes.md \
		--json "$$target/bench/report.json" --html "$$target/bench/report.html" --markdown docs/benchmarks.md

bench-serve: ## the warm service: from a request to a pushed image, 120 times
	@tests/tools/packages.sh bench
	@$(CARGO) build --release --locked --bin cooper
	@target="$${CARGO_TARGET_DIR:-target}"; bases="$(BENCH_BASES)"; \
	tests/tools/bench-bases.sh "$$bases" "$$target/release/cooper"; \
	COOPER="$$target/release/cooper" tests/tools/bench-serve.sh "$$bases"

clean-test-tools: ## forget the stand-in base image and what it was made from
	rm -rf "$${CARGO_TARGET_DIR:-target}/test-tools"
