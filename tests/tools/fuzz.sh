#!/usr/bin/env bash
# Runs one fuzz target and says in a line what came of it; what it printed is shown only if it found something:
#
#   tests/tools/fuzz.sh PROGRAM DIRECTORY SECONDS
#
# In DIRECTORY the corpus grows from run to run, and what makes a target fail is kept.
set -euo pipefail

program=$1 directory=$2 seconds=$3
name=$(basename "$program")
corpus=$directory/corpus/$name artifacts=$directory/artifacts/$name log=$directory/$name.log
mkdir -p "$corpus" "$artifacts"

code=0
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -verbosity=1 -print_final_stats=1 -dict=fuzz/dockerfile.dict -artifact_prefix="$artifacts/" \
    "$corpus" >"$log" 2>&1 || code=$?
if [ "$code" -ne 0 ]; then
    echo "== $name failed; its input is in $artifacts, its output in $log:"
    tail -n 60 "$log"
    exit 1
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
[ "${runs:-0}" -gt 0 ] || {
    echo "== $name ran nothing, see $log"
    exit 1
}
echo "== $name: $runs inputs in $seconds s, $(find "$corpus" -type f | wc -l) kept, nothing found"
