#!/usr/bin/env bash
# How long the warm service takes from a request to a pushed and verified image: the sample app, one line of it changed
# each time. Leaves nothing behind.
#
#   tests/tools/bench-serve.sh BASES              same as `make bench-serve`; BASES is a directory of bench-bases.sh
#   COOPER=PATH tests/tools/bench-serve.sh BASES  uses that binary instead of building one
set -euo pipefail

bases=$(realpath "${1:?usage: $0 BASES}")
# shellcheck source=tests/tools/service.sh
source "$(dirname "${BASH_SOURCE[0]}")/service.sh"

service_prepare
registry_start "$work/registry" '' ''
"$cooper" registry copy "oci-layout://$bases/node" "$REGISTRY_HOST/library/node:20-alpine" >/dev/null
service_start --allow-anonymous
python3 "$tools/bench-serve.py" "$root/fixtures/test-webapp" "$address" "$REGISTRY_HOST" "$service"
