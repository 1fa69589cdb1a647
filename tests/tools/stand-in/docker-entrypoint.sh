#!/bin/sh
# Arguments that are no command of the image are arguments of node.
set -e
case ${1:-} in
    '' | -*) set -- node "$@" ;;
    *) command -v "$1" >/dev/null 2>&1 || set -- node "$@" ;;
esac
exec "$@"
