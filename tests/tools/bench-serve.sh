#!/usr/bin/env bash
# How long the warm service takes from a request to a pushed and verified image: the sample app, one line of it changed
# each time. Leaves nothing behind.
#
#   tests/tools/bench-serve.sh BASES              same as `make bench-serve`; BASES is a directory of bench-bases.sh
#   COOPER=PATH tests/tools/bench-serve.sh BASES  uses that binary instead of building one
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$tools/../.." && pwd)
bases=$(realpath "${1:?usage: $0 BASES}")
# shellcheck source=tests/tools/registry.sh
source "$tools/registry.sh"

work=$(mktemp -d)
service=''

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    set +e
    if [ -n "$service" ]; then
        kill "$service" 2>/dev/null
        wait "$service" 2>/dev/null
    fi
    registry_stop
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -n "${COOPER:-}" ]; then
    cooper=$(realpath "$COOPER")
else
    (cd "$root" && cargo build --release --locked --bin cooper)
    cooper=$(cd "$root" && realpath "${CARGO_TARGET_DIR:-target}/release/cooper")
fi

registry_start "$work/registry" '' ''
"$cooper" registry copy "oci-layout://$bases/node" "$REGISTRY_HOST/library/node:20-alpine" >/dev/null
"$cooper" serve --listen 127.0.0.1:0 --data "$work/data" --allow-anonymous 2>"$work/service.log" &
service=$!
address=''
for _ in $(seq 200); do
    address=$(sed -n '/"listening"/s/.*"address":"\([^"]*\)".*/\1/p' "$work/service.log" | head -n 1)
    [ -z "$address" ] || break
    kill -0 "$service" 2>/dev/null || { cat "$work/service.log" >&2; exit 1; }
    sleep 0.05
done
[ -n "$address" ] || { echo "bench-serve: the service is not ready within 10 seconds" >&2; exit 1; }
python3 "$tools/bench-serve.py" "$root/fixtures/test-webapp" "$address" "$REGISTRY_HOST" "$service"
