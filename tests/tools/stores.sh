#!/usr/bin/env bash
# Runs a stand-in for an object store in the foreground, on loopback:
#
#   tests/tools/stores.sh s3|azure PORT DIRECTORY
#
# s3 is moto (from PyPI), azure is azurite (from npm). They are installed on first use, into target/test-tools, and keep their data
# in DIRECTORY or in memory.
set -euo pipefail

kind=$1 port=$2 directory=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/test-tools/stores
mkdir -p "$tools"

# shellcheck source=tests/tools/once.sh
source "$root/tests/tools/once.sh"

case $kind in
    s3)
        once moto python_packages moto 'moto[server]==5.1.*'
        exec "$tools/moto/bin/moto_server" -H 127.0.0.1 -p "$port"
        ;;
    azure)
        once azurite npm_package azurite azurite@3
        exec "$tools/azurite/node_modules/.bin/azurite-blob" --silent --skipApiVersionCheck \
            --blobHost 127.0.0.1 --blobPort "$port" --location "$directory" --disableTelemetry
        ;;
    *)
        echo "stores: unknown store '$kind'" >&2
        exit 1
        ;;
esac
