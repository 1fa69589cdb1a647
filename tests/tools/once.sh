# Installs what tests need from PyPI and npm, once. To be sourced, with the directory for it in `tools`.

# once NAME COMMAND...: does what was not done yet; other tests wait for it.
once() {
    (
        flock 9
        [ -e "$tools/$1.done" ] || { "${@:2}" >&2 && touch "$tools/$1.done"; }
    ) 9>"$tools/$1.lock"
}

python_packages() {
    python3 -m venv "$tools/$1"
    "$tools/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

npm_package() {
    npm install --silent --no-audit --no-fund --prefix "$tools/$1" "$2"
}
