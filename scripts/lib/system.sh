# Sourced by scripts: what comes from the system (compilers, Debian packages), and how to say that it is missing.
# Expects ROOT to be the repository's folder.

# A toolchain installed by rustup stands here even when the shell does not know it yet.
case ":$PATH:" in
*":$HOME/.cargo/bin:"*) ;;
*) PATH="$HOME/.cargo/bin:$PATH" ;;
esac

# Prints an error and what to do about it, and fails.
missing() {
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    return 1
}

# Installs Debian packages, or says how to.
install_debian() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as_root=(sudo)
        else
            missing "missing: $*" "sudo apt-get install $*"
            return 1
        fi
    fi
    command -v apt-get >/dev/null || { missing "missing: $*" "install them with this system's package manager"; return 1; }
    echo "installing $* ..." >&2
    "${as_root[@]}" apt-get update -qq || return 1
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# A C linker, and a Rust toolchain that is new enough.
require_rust() {
    local wanted found remedy
    wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)"
    remedy="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    command -v cargo >/dev/null || { missing "no Rust toolchain (needed: $wanted or newer)" "$remedy"; return 1; }
    found="$(cargo --version | cut -d ' ' -f 2)"
    at_least "${found%%-*}" "$wanted" ||
        { missing "Rust $found is too old (needed: $wanted or newer)" "$remedy"; return 1; }
    command -v cc >/dev/null || install_debian gcc libc6-dev
}

# Python's venv module, which Debian keeps in a package of its own. Python itself is found by find_python.
require_python() {
    if command -v python3 >/dev/null && ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        install_debian python3-venv || return 1
    elif ! command -v python3 >/dev/null; then
        install_debian python3 python3-venv || return 1
    fi
    find_python >/dev/null
}
