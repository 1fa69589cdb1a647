# shellcheck shell=bash
# Starts and stops real registries (Debian's docker-registry) on loopback, for bash scripts:
#
#   source tests/tools/registry.sh
#   trap registry_stop EXIT
#   registry_start DIR USER PASSWORD    sets REGISTRY_HOST to localhost:PORT once the registry answers
#   registry_login DIR USER PASSWORD    writes DIR/config.json, for DOCKER_CONFIG and skopeo --authfile
#   registry_stop                       ends every registry that was started here
#
# A registry keeps its data, its settings and its log (registry.log, with every request) in DIR. An empty USER
# switches authentication off. Blobs and manifests can be deleted. The system chooses the port.

REGISTRY_HOST=''
registry_pids=()

registry_start() {
    local directory=$1 user=$2 password=$3 pid port
    mkdir -p "$directory/data"
    {
        echo 'version: 0.1'
        echo 'log: { level: info, formatter: text, accesslog: { disabled: false } }'
        echo "storage: { filesystem: { rootdirectory: '$directory/data' }, delete: { enabled: true } }"
        echo "http: { addr: '127.0.0.1:0', secret: 'only-for-tests' }"
        if [ -n "$user" ]; then
            # The password comes by standard input, where other users' `ps` does not see it; cost 4 keeps requests quick.
            printf '%s\n' "$password" | htpasswd -i -n -B -C 4 "$user" >"$directory/htpasswd"
            echo "auth: { htpasswd: { realm: 'cooper tests', path: '$directory/htpasswd' } }"
        fi
    } >"$directory/config.yml"
    OTEL_TRACES_EXPORTER=none docker-registry serve "$directory/config.yml" >"$directory/registry.log" 2>&1 &
    pid=$!
    registry_pids+=("$pid")
    for _ in $(seq 200); do
        port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$directory/registry.log" | head -n 1)
        if [ -n "$port" ]; then
            # The port is open before this line is written: the registry answers from here on.
            REGISTRY_HOST=localhost:$port
            return 0
        fi
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "registry: docker-registry ended at its start:" >&2
            tail -n 5 "$directory/registry.log" >&2
            return 1
        fi
        sleep 0.05
    done
    echo "registry: docker-registry was not ready within 10 seconds; its log is $directory/registry.log" >&2
    return 1
}

registry_login() {
    local directory=$1 user=$2 password=$3
    mkdir -p "$directory"
    (
        umask 077
        printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$REGISTRY_HOST" "$(printf '%s:%s' "$user" "$password" | base64 -w 0)" \
            >"$directory/config.json"
    )
}

registry_stop() {
    local pid
    for pid in "${registry_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    registry_pids=()
}
