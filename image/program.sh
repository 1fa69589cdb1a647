#!/usr/bin/env bash
# Builds Cooper as one static program, and prints where it is:
#
#   image/program.sh ARCHITECTURE [PROFILE]    amd64 or arm64; a profile of Cargo's [release]
#
# The compiler is rustup's where that has the target's standard library (`rustup target add`), else Debian's rustc-web
# with the library and the linker of the other architecture, which are installed if they are missing. The C library is
# musl where both a musl target and a compiler for it are there, else glibc.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
directory=${CARGO_TARGET_DIR:-$root/target}/static

say() { echo "program: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

architecture=${1:?usage: $0 ARCHITECTURE [PROFILE]}
profile=${2:-release}
case $architecture in
    amd64) cpu=x86_64 gnu=x86-64-linux-gnu ;;
    arm64) cpu=aarch64 gnu=aarch64-linux-gnu ;;
    *) fail "there is no '$architecture': amd64 or arm64" ;;
esac
is_native=''
[ "$(uname -m)" != "$cpu" ] || is_native=yes

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# knows RUSTC TARGET: whether the compiler is there and has the target's standard library.
knows() {
    local sysroot
    sysroot=$(cd "$root" && "$1" --print sysroot 2>/dev/null) && [ -n "$(compgen -G "$sysroot/lib/rustlib/$2/lib/libstd-*.rlib")" ]
}

install_debians() {
    command -v apt-get >/dev/null ||
        fail "no Rust compiler for $architecture: run 'rustup target add $cpu-unknown-linux-gnu', or use a Debian machine"
    local packages=(rustc-web libstd-rust-web-dev "libstd-rust-web-dev:$architecture")
    [ -n "$is_native" ] || packages+=("gcc-$gnu" "libc6-dev-$architecture-cross")
    if ! dpkg --print-architecture --print-foreign-architectures | grep -qx "$architecture"; then
        say "adding the architecture $architecture to dpkg's"
        as_root dpkg --add-architecture "$architecture"
        as_root apt-get update -qq >&2
    fi
    say "installing ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "${packages[@]}" >&2
}

# choose TARGET: sets `compiler`.
choose() {
    local candidate
    for candidate in "$(command -v rustc || true)" /usr/bin/rustc; do
        if [ -n "$candidate" ] && knows "$candidate" "$1"; then
            compiler=$candidate
            return 0
        fi
    done
    return 1
}

compiler='' linker=''
musl=$cpu-unknown-linux-musl
musl_gcc=$(command -v "$cpu-linux-musl-gcc" || { [ -n "$is_native" ] && command -v musl-gcc; } || true)
if [ -n "$musl_gcc" ] && choose "$musl"; then
    target=$musl linker=$musl_gcc
else
    target=$cpu-unknown-linux-gnu
    choose "$target" || {
        install_debians
        choose "$target" || fail "the standard library of $target is still missing"
    }
    linker=gcc
    if [ -z "$is_native" ]; then
        linker=${gnu/x86-64/x86_64}-gcc
        command -v "$linker" >/dev/null || install_debians
    fi
fi

say "$("$compiler" --version) for $target, linked by $linker"
upper=${target^^}
export RUSTC=$compiler CARGO_TARGET_DIR=$directory
export "CC_${target//-/_}=$linker" "CARGO_TARGET_${upper//-/_}_LINKER=$linker"
export RUSTFLAGS='-C target-feature=+crt-static'
cargo build --quiet --locked --manifest-path "$root/Cargo.toml" --bin cooper --profile "$profile" --target "$target" >&2
[ "$profile" != dev ] || profile=debug
echo "$directory/$target/$profile/cooper"
