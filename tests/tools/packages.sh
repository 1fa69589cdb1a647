#!/usr/bin/env bash
# Installs what the tests and the demo need from Debian's (or Ubuntu's) packages, if it is missing:
#
#   tests/tools/packages.sh [GROUP...]      groups: bench, build, debian, demo, fuzz, image, stand-in, tests; without one: all of them
#
# Quick and silent when everything is there. No service is started, and none is left to start by itself.
set -euo pipefail

say() { echo "packages: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

missing=()
optional=() # wanted where the distribution has it

# need PROGRAM PACKAGE...: the packages are wanted when the program is not on the path.
need() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing+=("${@:2}")
}

need_group() {
    case $1 in
        build)
            need cc gcc libc6-dev
            ;;
        debian)
            need mmdebstrap mmdebstrap
            need umoci umoci
            ;;
        fuzz)
            need c++ g++
            ;;
        demo)
            need curl curl
            need docker-registry docker-registry
            need htpasswd apache2-utils
            need skopeo skopeo
            need umoci umoci
            need runc runc
            need python3 python3
            [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
            ;;
        stand-in)
            # Debian has a dynamically linked busybox under the same name.
            dpkg-query -W -f '${Status}\n' busybox-static 2>/dev/null | grep -q 'ok installed' || missing+=(busybox-static)
            need npm npm
            need node nodejs
            need python3 python3
            ;;
        image)
            need python3 python3
            [ -e /usr/share/ca-certificates/mozilla ] || missing+=(ca-certificates)
            ;;
        tests)
            need_group demo
            need_group image
            need_group stand-in
            need_group debian
            need buildah buildah
            # Newer versions of buildah look for it even when a build shares the host's network.
            [ -x /usr/lib/podman/netavark ] || optional+=(netavark)
            need curl curl
            need jq jq
            need ssh-agent openssh-client
            need strace strace
            # As contexts: repositories behind HTTP and SSH, and object stores from other registries of packages.
            need git git
            need sshd openssh-server
            need pip3 python3-pip python3-venv
            need newuidmap uidmap
            need setcap libcap2-bin
            need qemu-aarch64-static qemu-user-static
            need script bsdutils
            # For the service's page: a browser, and letters for it.
            need chromium chromium
            [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || missing+=(fonts-dejavu-core)
            # For Cooper's own image: a network of its own with names, a pod, the other architecture.
            need ip iproute2
            need dnsmasq dnsmasq-base
            need podman podman
            need catatonit catatonit
            need qemu-aarch64-static qemu-user-static
            ;;
        bench)
            need_group demo
            need_group stand-in
            need buildah buildah
            need mmdebstrap mmdebstrap
            ;;
        *) fail "unknown group '$1': bench, build, debian, demo, fuzz, image, stand-in, tests" ;;
    esac
}

# Debian starts a service when its package is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [ ! -e $policy ] || return 0
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    trap 'as_root rm -f $policy' EXIT
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >&2
}

[ $# -gt 0 ] || set -- build tests
for group in "$@"; do need_group "$group"; done
[ $((${#missing[@]} + ${#optional[@]})) -gt 0 ] || exit 0

command -v apt-get >/dev/null ||
    fail "this machine has no apt-get; please install what provides: ${missing[*]}"
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    [ ${#missing[@]} -gt 0 ] || exit 0
    fail "missing packages; as root run: apt-get install ${missing[*]}"
fi

updated=''
update() {
    say "updating the package lists first"
    as_root apt-get update -qq >&2 || fail "apt-get could not update the package lists (see above)"
    updated=yes
}

known() { apt-cache show "$@" >/dev/null 2>&1; }

known apt "${missing[@]}" || update
for package in "${optional[@]}"; do
    ! known "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

say "installing ${missing[*]}"
forbid_services
if ! install "${missing[@]}"; then
    # The lists may be older than what the archive still holds.
    [ -z "$updated" ] || fail "apt-get could not install ${missing[*]} (see above)"
    update
    install "${missing[@]}" || fail "apt-get could not install ${missing[*]} (see above)"
fi
case " ${missing[*]} " in
    *" docker-registry "*)
        # Not at the next boot either: the tests start registries of their own.
        if command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet docker-registry.service 2>/dev/null ||
                say "note: docker-registry.service may start at the next boot: systemctl disable docker-registry"
        fi
        ;;
esac
