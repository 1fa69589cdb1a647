#!/usr/bin/env bash
# Makes a small Debian to build from, and an archive of packages to install in it without a network:
#
#   tests/tools/debian-base.sh    makes both (once) and prints the directory they are in
#
#   layout/   an OCI layout with the tag latest: the packages of priority "required" and apt, without documentation.
#             Its only package source is file:/archive
#   archive/  what to mount there: packages with maintainer scripts, set-user-ID and set-group-ID files, file
#             capabilities, and what they depend on
#
# Everything is downloaded from where this machine's own apt gets the distribution's packages (on Ubuntu the result is a
# small Ubuntu). It is kept under target/test-tools/, named by a hash of this script. Needs: root, packages.sh debian.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$(cd "$tools/../.." && pwd)/target}/test-tools
mkdir -p "$cache"
cache=$(realpath "$cache")

# A file capability on ping; set-user-ID sudo; a set-group-ID file and a group of its own; a set-user-ID file of an own
# group and a daemon.
packages="iputils-ping libcap2-bin sudo openssh-client dbus"

say() { echo "debian-base: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

[ $# -eq 0 ] || fail "usage: $0"
architecture=$(dpkg --print-architecture)
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$codename" ] || fail "/etc/os-release names no distribution with a code name"
key=$(sha256sum "$tools/debian-base.sh" | cut -c1-16)
ready=$cache/$codename-$architecture-$key

# The distribution's own package sources as this machine's apt has them; what else is configured is not wanted.
sources() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(ARCHITECTURE) $(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        while read -r origin for_architecture component release uri; do
            case "$origin $for_architecture $component $release" in
                "Debian $architecture main $codename" | "Debian $architecture main $codename-"[us]* | \
                    "Ubuntu $architecture main $codename" | "Ubuntu $architecture main $codename-"[us]*)
                    echo "deb $uri $release $component"
                    ;;
            esac
        done
}

# One file that lists the packages, as apt wants it from a directory.
list_packages() {
    local package
    for package in *.deb; do
        dpkg-deb --field "$package"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
            "$package" "$(stat -c %s "$package")" "$(sha256sum "$package" | cut -d' ' -f1)"
    done >Packages
}

make() {
    local found keyring=''
    found=$(sources)
    [ -n "$found" ] || fail "apt knows no package source for $codename: run apt-get update"
    for file in /usr/share/keyrings/{debian,ubuntu}-archive-keyring.gpg; do
        [ ! -e "$file" ] || keyring=$file
    done
    mkdir "$work/archive" "$work/downloads" "$work/downloads/partial"
    say "downloading $codename for $architecture and the packages $packages"
    echo "$found" >"$work/sources.list"
    # shellcheck disable=SC2016
    mmdebstrap --quiet --mode=root --format=tar --variant=minbase ${keyring:+--keyring="$keyring"} \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --customize-hook="APT_CONFIG=\"\$MMDEBSTRAP_APT_CONFIG\" apt-get install --quiet --quiet --yes --download-only \
            --no-install-recommends -o APT::Sandbox::User=root -o Dir::Cache::archives='$work/downloads' $packages" \
        --customize-hook='rm -r "$1"/etc/apt/sources.list*' \
        --customize-hook='echo "deb [trusted=yes] file:/archive ./" >"$1/etc/apt/sources.list"' \
        --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id"' \
        "$codename" "$work/base.tar" "$work/sources.list" >&2 || fail "mmdebstrap failed (see above)"
    mv "$work"/downloads/*.deb "$work/archive/"
    (cd "$work/archive" && list_packages)
    umoci init --layout "$work/layout"
    umoci new --image "$work/layout:latest"
    umoci raw add-layer --image "$work/layout:latest" "$work/base.tar"
    umoci config --image "$work/layout:latest" --config.cmd bash \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umoci gc --layout "$work/layout"
    rm -r "$work/base.tar" "$work/downloads" "$work/sources.list"
    # What apt and umoci write may be readable by root only; pods have other users, and apt reads as somebody else.
    chmod -R u=rwX,go=rX "$work"
    mv "$work" "$ready"
    say "made $ready ($(du -sh "$ready" | cut -f1))"
}

if [ ! -d "$ready" ]; then
    # Tests run side by side: one makes it, the others wait.
    exec 9>"$cache/debian-base.lock"
    flock 9
    if [ ! -d "$ready" ]; then
        [ "$(id -u)" -eq 0 ] || fail "only root can make it"
        command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing: run $tools/packages.sh debian"
        work=$(mktemp -d "$cache/making.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        make
        trap - EXIT
    fi
    exec 9>&-
fi
echo "$ready"
