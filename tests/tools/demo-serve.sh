#!/usr/bin/env bash
# A registry and the service on loopback, until it is interrupted; prints the address and a `curl` line that works.
# Leaves nothing behind.
#
#   tests/tools/demo-serve.sh                same as `make demo-serve`
#   COOPER=PATH tests/tools/demo-serve.sh    uses that binary instead of building one
#   DEMO_ONCE=1 tests/tools/demo-serve.sh    runs the `curl` line itself, and ends
set -euo pipefail

# shellcheck source=tests/tools/service.sh
source "$(dirname "${BASH_SOURCE[0]}")/service.sh"

for program in docker-registry curl; do
    command -v "$program" >/dev/null || { echo "demo-serve: $program is missing: run tests/tools/packages.sh" >&2; exit 1; }
done
service_prepare
registry_start "$work/registry" '' ''
token=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
hash=$(printf '%s' "$token" | sha256sum | cut -d' ' -f1)
(
    umask 077
    cat >"$work/tokens.json" <<JSON
{"tokens": [{"name": "demo", "sha256": "$hash", "destinations": ["$REGISTRY_HOST/demo/**"], "contexts": ["upload"]}]}
JSON
)
service_start --tokens "$work/tokens.json"

mkdir "$work/context"
printf 'FROM scratch\nCOPY hello /\n' >"$work/context/Dockerfile"
printf 'hello\n' >"$work/context/hello"
tar -C "$work/context" -cf "$work/context.tar" .

line="curl -sS --data-binary @$work/context.tar -H 'Authorization: Bearer $token' \
-H 'Cooper-Build: {\"tags\": [\"$REGISTRY_HOST/demo/hello:1\"]}' 'http://$address/v1/builds?wait=60s'"
cat <<TEXT

The service is at http://$address, and pushes to the registry at $REGISTRY_HOST. Its log is $work/service.log.

Build and push an image:

  $line

The same with Cooper's own command line, which shows the build:

  COOPER_REMOTE=http://$address COOPER_TOKEN=$token $cooper remote build -t $REGISTRY_HOST/demo/hello:2 $work/context

TEXT
if [ -n "${DEMO_ONCE:-}" ]; then
    answer=$(bash -c "$line")
    echo "$answer"
    grep -q '"state":"succeeded"' <<<"$answer"
    curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "http://$REGISTRY_HOST/v2/demo/hello/manifests/1" >/dev/null
    exit 0
fi
echo "Interrupt with Ctrl-C: everything is then stopped and removed."
wait "$service"
