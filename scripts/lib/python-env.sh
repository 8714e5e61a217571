# Sourced by scripts: a virtual environment of this checkout, .venv, with what the Python package needs.
# Expects ROOT to be the repository's folder, and system.sh to be sourced.

# Prints a usable CPython from 3.11, that of PYTHON first, or fails.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# The newest package of a Python from 3.11 that this distribution has beside its python3; prints nothing where it has none.
newest_python_package() {
    command -v apt-cache >/dev/null || return 0
    apt-cache pkgnames python3. | grep -E '^python3\.(1[1-9]|[2-9][0-9])$' | sort -V | tail -n 1
}

# Prints a usable CPython from 3.11. Installs one where there is none and the distribution has it, or else says what to do
# and fails: Debian keeps the venv module in a package of its own, and an old distribution may have only older ones.
require_python() {
    local package uv="curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv python install 3.13"
    find_python && return 0
    if ! command -v python3 >/dev/null || python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        install_debian python3 python3-venv || return 1
        find_python && return 0
    fi
    # A machine that is new has no list of packages yet.
    as_root apt-get update -qq >&2 2>/dev/null || :
    package="$(newest_python_package)"
    if [ -n "$package" ]; then
        install_debian "$package" "$package-venv" || return 1
        find_python && return 0
    fi
    command -v curl >/dev/null || uv="$(apt_line curl ca-certificates) && $uv"
    missing "no CPython 3.11 or newer with its venv module ($(python3 --version 2>/dev/null || echo 'no python3') is here)" \
        "$uv     (or name one: PYTHON=/path/to/python3)"
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
        python="$(require_python)" || return 1
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
