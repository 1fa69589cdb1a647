#!/usr/bin/env bash
# Makes Cooper's image for linux/amd64 and linux/arm64, by Cooper itself:
#
#   image/make.sh                                        same as `make image`
#   PUSH=registry.example.com/tools/cooper:1 image/make.sh    pushes it, too; the debug image under the tag `1-debug`
#
# Makes target/image/executor and target/image/debug, OCI layouts with one index each. Further settings:
#
#   OUT=DIR                          another place for them
#   PROFILE=dev                      a profile of Cargo's other than release
#   PROGRAM_AMD64=, PROGRAM_ARM64=   static programs that are there already
#   COMPRESSION=gzip LEVEL=9         of its layers [zstd 19: it is made once and pulled often]
#   BUILD_OPTIONS='--insecure-registry localhost:5000'    for `cooper build`
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
out=${OUT:-${CARGO_TARGET_DIR:-$root/target}/image}
# Bytes that one platform may take in the registry, without a shell; empty for any number.
limit=${LIMIT-12000000}

say() { echo "image: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

"$root/tests/tools/packages.sh" build image
mkdir -p "$out/context" "$out/packages"
out=$(realpath "$out")

case $(uname -m) in
    x86_64) host=amd64 ;;
    aarch64) host=arm64 ;;
    *) fail "Cooper is not built on $(uname -m)" ;;
esac

# program ARCHITECTURE: prints where its program is.
program() {
    local given=PROGRAM_${1^^}
    if [ -n "${!given:-}" ]; then echo "${!given}"; else "$here/program.sh" "$1" "${PROFILE:-release}"; fi
}

# Unpacks Debian's static busybox of an architecture.
busybox() {
    local architecture=$1 package
    [ ! -x "$out/packages/$architecture/bin/busybox" ] || return 0
    (cd "$out/packages" && apt-get download -qq -o APT::Sandbox::User=root "busybox-static:$architecture" >&2) ||
        fail "apt-get could not download busybox-static:$architecture: add the architecture with 'dpkg --add-architecture', then 'apt-get update'"
    package=$(ls "$out/packages"/busybox-static_*_"$architecture".deb)
    dpkg-deb --extract "$package" "$out/packages/$architecture"
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
# The same sources give the same image.
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}

certificates=/usr/share/ca-certificates/mozilla
for architecture in amd64 arm64; do
    program=$(program "$architecture")
    [ "$architecture" != "$host" ] || cooper=$program
    busybox "$architecture"
    python3 "$here/archives.py" executor "$out/context/executor-$architecture.tar" --time "$epoch" \
        --program "$program" --certificates "$certificates"
done
"$out/packages/$host/bin/busybox" --list >"$out/packages/applets"
for architecture in amd64 arm64; do
    python3 "$here/archives.py" debug "$out/context/debug-$architecture.tar" --time "$epoch" \
        --busybox "$out/packages/$architecture/bin/busybox" --applets "$out/packages/applets"
done

for target in executor debug; do
    rm -rf "${out:?}/$target"
    options=(--output "type=oci,dest=$out/$target")
    if [ -n "${PUSH:-}" ]; then
        name=$PUSH
        # A port is no tag.
        [ "$target" = executor ] || case ${PUSH##*/} in *:*) name=$PUSH-$target ;; *) name=$PUSH:$target ;; esac
        options+=(--tag "$name" --push)
    fi
    # shellcheck disable=SC2206 # several options in one variable
    options+=(${BUILD_OPTIONS:-})
    "$cooper" build --file "$here/Dockerfile" --target "$target" --platform linux/amd64,linux/arm64 \
        --build-arg "SOURCE_DATE_EPOCH=$epoch" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        --compression "${COMPRESSION:-zstd}" --compression-level "${LEVEL:-19}" \
        --store "$out/store" --progress "${PROGRESS:-plain}" "${options[@]}" "$out/context"
    python3 "$here/sizes.py" "$out/$target" "$([ "$target" = debug ] || echo "$limit")"
done
