#!/usr/bin/env bash
# The whole way of one image, on loopback: a registry with a password, the base image in it, the sample app built and
# pushed by Cooper, looked at by skopeo, run by runc, asked for its health. Leaves nothing behind.
#
#   tests/tools/demo.sh                same as `make demo`
#   COOPER=PATH tests/tools/demo.sh    uses that binary instead of building one
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$tools/../.." && pwd)
# shellcheck source=tests/tools/registry.sh
source "$tools/registry.sh"

steps=7
step=0
container=cooper-demo-$$
app_pid=''
app_port=3000
hub_image=docker.io/library/node:20-alpine
hub_limit=120 # seconds for the whole copy; reaching it at all gets 10

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi

step() {
    step=$((step + 1))
    printf '\n%s[%d/%d] %s%s\n' "$bold" "$step" "$steps" "$*" "$plain"
}
say() { printf '      %s\n' "$*"; }
good() { printf '    %s✓%s %s\n' "$green" "$plain" "$*"; }
fail() {
    printf '    %s✗ %s%s\n' "$red" "$*" "$plain" >&2
    exit 1
}
show() { printf '    %s$ %s%s\n' "$dim" "$*" "$plain"; }
indent() { sed 's/^/      /'; }

# quietly WHAT COMMAND...: the command's output is shown only when it fails.
quietly() {
    local what=$1 log=$work/command.log
    shift
    "$@" >"$log" 2>&1 || {
        indent <"$log" >&2
        fail "$what"
    }
}

# milliseconds since the epoch; `elapsed START` is the time since then, for people.
now() { date +%s%3N; }
elapsed() {
    local spent=$(($(now) - $1))
    printf '%d.%d s' $((spent / 1000)) $((spent % 1000 / 100))
}

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    set +e
    if [ -n "$app_pid" ]; then
        container_runtime delete --force "$container" >/dev/null 2>&1
        wait "$app_pid" 2>/dev/null
    fi
    registry_stop
    if ! rm -rf "$work" 2>/dev/null; then
        # Without root: directories that nobody may enter, and files of ids that are only ours in a user namespace.
        chmod -R u+rwX "$work" 2>/dev/null
        rm -rf "$work" 2>/dev/null || unshare --user --map-auto --map-root-user rm -rf "$work"
    fi
    if [ "$code" -eq 0 ]; then
        printf '\n%sDone in %s; everything it started is stopped and removed.%s\n' "$bold" "$(elapsed "$began")" "$plain"
    else
        local ending=failed
        [ "$code" -lt 128 ] || ending='was interrupted'
        printf '\n%sThe demo %s in step %d; everything it started is stopped and removed.%s\n' \
            "$red" "$ending" "$step" "$plain" >&2
    fi
    exit "$code"
}

container_runtime() { runc --root "$work/runc" "$@"; }

in_registry() { skopeo "$1" --authfile "$DOCKER_CONFIG/config.json" --tls-verify=false "${@:2}"; }

build_cooper() {
    step "Cooper"
    if [ -n "${COOPER:-}" ]; then
        cooper=$(realpath "$COOPER")
        good "using $cooper"
        return
    fi
    command -v cargo >/dev/null || fail "cargo is missing: install a Rust toolchain with rustup first"
    local start
    start=$(now)
    say "cargo build --release (some minutes the first time)"
    (cd "$root" && cargo build --release --locked --bin cooper) || fail "Cooper does not compile"
    cooper=$(cd "$root" && realpath "${CARGO_TARGET_DIR:-target}/release/cooper")
    good "built in $(elapsed "$start"): $(du -h "$cooper" | cut -f1), $("$cooper" --version)"
}

start_registry() {
    step "A registry with a password, on loopback"
    local password
    password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    export DOCKER_CONFIG=$work/docker
    registry_start "$work/registry" demo "$password" || fail "no registry"
    registry_login "$DOCKER_CONFIG" demo "$password"
    host=$REGISTRY_HOST
    good "docker-registry listens on $host; user demo, a password made for this run"
}

copy_from_hub() {
    timeout 10 skopeo inspect --raw "docker://$hub_image" >/dev/null 2>&1 || return 1
    say "Docker Hub answers; copying $hub_image"
    timeout "$hub_limit" skopeo copy --insecure-policy --quiet \
        --dest-authfile "$DOCKER_CONFIG/config.json" --dest-tls-verify=false \
        "docker://$hub_image" "docker://$host/library/node:20-alpine" >/dev/null 2>&1
}

provide_base() {
    step "The base image, node:20-alpine, in that registry"
    local start
    start=$(now)
    if copy_from_hub; then
        good "the real one, from Docker Hub, in $(elapsed "$start")"
        return
    fi
    say "Docker Hub does not give it to this machine: assembling a stand-in"
    "$tools/packages.sh" stand-in || fail "the stand-in's parts cannot be installed"
    "$tools/stand-in-base.sh" "$work/base" 2>&1 | indent
    quietly "the registry does not take the stand-in" \
        skopeo copy --all --insecure-policy --dest-authfile "$DOCKER_CONFIG/config.json" --dest-tls-verify=false \
        "oci:$work/base:20-alpine" "docker://$host/library/node:20-alpine"
    good "a stand-in (busybox, node, own addgroup and adduser), in $(elapsed "$start")"
}

build_image() {
    step "Build and push the sample app"
    local start
    start=$(now)
    image=$host/test-webapp:demo
    export COOPER_STORE=$work/store
    show "cooper build fixtures/test-webapp --tag $image --push --registry-mirror $host --insecure-registry $host"
    (cd "$root" && "$cooper" build fixtures/test-webapp --tag "$image" --push \
        --registry-mirror "$host" --insecure-registry "$host" 2>&1) | indent ||
        fail "the build failed"
    good "built and pushed in $(elapsed "$start"), with an empty store"
}

verify_image() {
    step "What the registry has now"
    show "skopeo inspect docker://$image"
    in_registry inspect "docker://$image" >"$work/inspect.json" || fail "skopeo does not find the image"
    in_registry inspect --config --raw "docker://$image" >"$work/config.json" || fail "skopeo does not read its config"
    python3 - "$work/inspect.json" "$work/config.json" <<'PYTHON' | indent || fail "this is not the image of the Dockerfile"
import json, sys
seen, image = (json.load(open(path)) for path in sys.argv[1:])
config = image["config"]
print("digest      ", seen["Digest"])
print("platform    ", f'{image["os"]}/{image["architecture"]}')
print("layers      ", len(seen["Layers"]))
for name in ["User", "WorkingDir", "Entrypoint", "Cmd", "ExposedPorts", "Env", "Healthcheck"]:
    print(f"{name:12}", json.dumps(config.get(name)))
expected = {"User": "nodejs", "WorkingDir": "/app", "Cmd": ["node", "src/server.js"]}
wrong = [name for name, value in expected.items() if config.get(name) != value]
if (config.get("Healthcheck") or {}).get("Test") != ["CMD", "node", "src/healthcheck.js"]:
    wrong.append("Healthcheck")
wrong += [text for text in ("NODE_ENV=production", "PORT=3000") if text not in config["Env"]]
if wrong:
    print("not as the Dockerfile says:", ", ".join(wrong))
    sys.exit(1)
PYTHON
    good "an independent tool reads it, and it is the image of the Dockerfile"
}

# Turns umoci's runtime settings into ours: no terminal, files read-only, a name of its own.
settle_bundle() {
    python3 - "$work/bundle/config.json" "$(id -u)" <<'PYTHON'
import json, sys
path, uid = sys.argv[1:]
bundle = json.load(open(path))
bundle["process"]["terminal"] = False
bundle["root"]["readonly"] = True
bundle["hostname"] = "cooper-demo"
if uid != "0":  # one id only is mapped for an ordinary user
    bundle["process"]["user"] = {"uid": 0, "gid": 0}
json.dump(bundle, open(path, "w"))
PYTHON
}

run_image() {
    step "Run it, confined"
    local rootless=()
    [ "$(id -u)" -eq 0 ] || rootless=(--rootless)
    quietly "skopeo cannot pull the image" \
        skopeo copy --insecure-policy --src-authfile "$DOCKER_CONFIG/config.json" --src-tls-verify=false \
        "docker://$image" "oci:$work/pulled:demo"
    quietly "umoci cannot unpack the image" umoci unpack "${rootless[@]}" --image "$work/pulled:demo" "$work/bundle"
    settle_bundle
    container_runtime run --bundle "$work/bundle" "$container" >"$work/app.log" 2>&1 </dev/null &
    app_pid=$!
    local user
    user=$(python3 -c 'import json,sys; u=json.load(open(sys.argv[1]))["process"]["user"]; print(u["uid"], u["gid"], sep=":")' \
        "$work/bundle/config.json")
    good "runc started its CMD as $user: own processes, own network, files read-only"
    [ ${#rootless[@]} -eq 0 ] || say "(an ordinary user maps one id only, so the image's USER is not applied here)"
}

ask_health() {
    step "Ask it"
    show "wget -qO- http://127.0.0.1:$app_port/health    (inside its network)"
    local answer=''
    for _ in $(seq 100); do
        answer=$(container_runtime exec "$container" wget -q -O - "http://127.0.0.1:$app_port/health" 2>/dev/null) && break
        if ! kill -0 "$app_pid" 2>/dev/null; then
            indent <"$work/app.log" >&2
            fail "the app ended"
        fi
        sleep 0.1
    done
    case $answer in
        *'"status":"ok"'*) good "$bold$answer$plain" ;;
        *)
            indent <"$work/app.log" >&2
            fail "no healthy answer: '$answer'"
            ;;
    esac
    container_runtime kill "$container" TERM
    local code=0
    wait "$app_pid" || code=$?
    app_pid=''
    container_runtime delete --force "$container" >/dev/null 2>&1 || true
    [ "$code" -eq 0 ] || fail "after SIGTERM the app ended with code $code"
    good "and it ends by itself on SIGTERM: $(tr '\n' ';' <"$work/app.log" | sed 's/;$//; s/;/; /g')"
}

began=$(now)
work=$(mktemp -d "${TMPDIR:-/tmp}/cooper-demo.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

printf '%sCooper: from a Dockerfile to a running process, without a daemon%s\n' "$bold" "$plain"
"$tools/packages.sh" build demo || fail "the demo's tools cannot be installed"
# Debian keeps runc beside the administrator's programs, which an ordinary user's path lacks.
PATH=$PATH:/usr/sbin:/sbin
build_cooper
start_registry
provide_base
build_image
verify_image
run_image
ask_health
