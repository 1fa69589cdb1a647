# shellcheck shell=bash
# Starts a service beside a registry, for bash scripts; both are stopped and their files removed when the script ends:
#
#   source tests/tools/service.sh
#   service_prepare                 sets `work`, a directory, and `cooper`: COOPER, or a release build
#   service_start ARGUMENTS...      `cooper serve` on loopback; sets `service`, its process, and `address`
#
# The service's log is $work/service.log.

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$tools/../.." && pwd)
# shellcheck source=tests/tools/registry.sh
source "$tools/registry.sh"

work='' service='' address='' cooper=''

service_clean_up() {
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

service_prepare() {
    work=$(mktemp -d)
    trap service_clean_up EXIT
    trap 'exit 130' INT TERM
    if [ -n "${COOPER:-}" ]; then
        cooper=$(realpath "$COOPER")
    else
        (cd "$root" && cargo build --release --locked --bin cooper)
        cooper=$(cd "$root" && realpath "${CARGO_TARGET_DIR:-target}/release/cooper")
    fi
}

service_start() {
    "$cooper" serve --listen 127.0.0.1:0 --data "$work/data" --log-format json "$@" 2>"$work/service.log" &
    service=$!
    for _ in $(seq 200); do
        address=$(sed -n '/"listening"/s/.*"address":"\([^"]*\)".*/\1/p' "$work/service.log" | head -n 1)
        [ -z "$address" ] || return 0
        kill -0 "$service" 2>/dev/null || { cat "$work/service.log" >&2; exit 1; }
        sleep 0.05
    done
    echo "${0##*/}: the service is not ready within 10 seconds" >&2
    exit 1
}
