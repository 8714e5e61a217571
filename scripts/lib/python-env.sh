# Sourced by scripts: a virtual environment of this checkout, .venv, with what the Python package needs.
# Expects ROOT to be the repository's folder.

# Prints the newest usable CPython from 3.11, or says what to do and fails.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "error: no CPython 3.11 or newer with its venv module was found." >&2
    echo "  Debian, Ubuntu: apt-get install python3 python3-venv; then run this again (PYTHON=/path/to/python3 names another)." >&2
    return 1
}

# Prints every usable CPython from 3.11 that is here, that of .venv first.
list_pythons() {
    local candidate
    for candidate in "$ROOT/.venv/bin/python" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python \
        /usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.1? /usr/local/bin/python3.1?; do
        if [ -x "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 11) or sys.implementation.name != "cpython")' 2>/dev/null; then
            echo "$candidate"
        fi
    done
}

# Makes .venv and installs the pinned requirements; does nothing when both are as they should be. With --run only those
# that showing the package at work needs, a tenth of the bytes.
install_python_env() {
    local python stamp wanted
    wanted="$ROOT/python/requirements-dev.txt"
    stamp="$ROOT/.venv/.requirements"
    if [ "${1:-}" = --run ] && ! cmp -s "$wanted" "$stamp"; then
        wanted="$ROOT/python/requirements-run.txt"
        stamp="$ROOT/.venv/.requirements-run"
    fi
    if [ ! -x "$ROOT/.venv/bin/python" ] || ! "$ROOT/.venv/bin/python" -c '' 2>/dev/null; then
        python="$(find_python)" || return 1
        rm -rf "$ROOT/.venv"
        "$python" -m venv "$ROOT/.venv" || return 1
    fi
    if ! cmp -s "$wanted" "$stamp"; then
        "$ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || return 1
        cp "$wanted" "$stamp"
    fi
}

# Builds the native module and installs the package in .venv, editable; the debug binary, if built, stands beside python.
# --run as the first argument means what it means to install_python_env; the others go to maturin.
install_python_package() {
    local which=--all
    if [ "${1:-}" = --run ]; then
        which=--run
        shift
    fi
    install_python_env "$which" || return 1
    mkdir -p "$ROOT/python/jimbot.data/scripts"
    (cd "$ROOT/python" && VIRTUAL_ENV="$ROOT/.venv" "$ROOT/.venv/bin/maturin" develop --quiet "$@") || return 1
    if [ -x "${CARGO_TARGET_DIR:-$ROOT/target}/debug/jimbot-mcp" ]; then
        ln -sf "${CARGO_TARGET_DIR:-$ROOT/target}/debug/jimbot-mcp" "$ROOT/.venv/bin/jimbot-mcp"
    fi
}
