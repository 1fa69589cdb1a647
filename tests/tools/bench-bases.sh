#!/usr/bin/env bash
# Makes the base images that `cooper bench` begins with, as OCI layouts:
#
#   tests/tools/bench-bases.sh OUT_DIR COOPER    what is there already is kept
#
# node: the files of the stand-in for node:20-alpine, see stand-in-base.sh, in two layers. busybox: Debian's busybox-static with its applets.
# debian: Debian's minimal system by mmdebstrap, from where this machine's apt takes its packages. Layers are written by
# COOPER, for which ADD of a tar is enough; every builder begins with the same. Needs: packages.sh bench.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 2 ] || {
    echo "usage: $0 OUT_DIR COOPER" >&2
    exit 1
}
mkdir -p "$1"
out=$(realpath "$1")
cooper=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# layout NAME TAG TAR COMMAND: an image of one layer.
layout() {
    mkdir -p "$work/context"
    ln -f "$3" "$work/context/root.tar"
    printf 'FROM scratch\nADD root.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCMD ["%s"]\n' \
        "$4" >"$work/context/Dockerfile"
    image "$1" "$2"
}

# image NAME TAG ARGUMENT...: what the Dockerfile in the context makes.
image() {
    SOURCE_DATE_EPOCH=0 "$cooper" build --progress quiet --store "$work/store" --tag "$1:$2" --image-format oci \
        --output "type=oci,dest=$work/layout" "${@:3}" "$work/context" >/dev/null
    mv "$work/layout" "$out/$1"
    rm -r "$work/context"
}

[ -d "$out/node" ] || {
    # Without its oddities: a link to itself ends the build of some.
    mkdir "$work/context"
    cat >"$work/context/Dockerfile" <<'DOCKERFILE'
FROM base AS whole
FROM scratch
COPY --from=whole --exclude=usr/local --exclude=usr/share/stand-in / /
COPY --from=whole /usr/local /usr/local
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["node"]
DOCKERFILE
    image node 20-alpine --build-context "base=oci-layout://$("$tools/stand-in-base.sh"):20-alpine"
}

[ -d "$out/busybox" ] || {
    root=$work/busybox
    mkdir -p "$root"/{bin,etc,root,tmp,var}
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    busybox --list | grep -vx busybox | while read -r applet; do ln -s busybox "$root/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    tar -C "$root" --owner=0 --group=0 --numeric-owner --sort=name --mtime=@0 -cf "$work/busybox.tar" .
    layout busybox latest "$work/busybox.tar" sh
}

[ -d "$out/debian" ] || {
    # shellcheck source=/dev/null
    . /etc/os-release
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,tzdata "$VERSION_CODENAME" "$work/debian.tar"
    # Device nodes are the runtime's affair.
    tar --delete --file "$work/debian.tar" --wildcards './dev/*' 2>/dev/null || true
    layout debian stable "$work/debian.tar" bash
}
