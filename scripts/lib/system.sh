# Sourced by scripts: what comes from the system (compilers, Debian packages), and how to say that it is missing.
# Expects ROOT to be the repository's folder.

# What rustup and uv install stands here even when the shell does not know it yet.
case ":$PATH:" in
*":$HOME/.cargo/bin:"*) ;;
*) PATH="$HOME/.cargo/bin:$PATH" ;;
esac
case ":$PATH:" in
*":$HOME/.local/bin:"*) ;;
*) PATH="$PATH:$HOME/.local/bin" ;;
esac

# Prints an error and what to do about it, and fails.
missing() {
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    return 1
}

# Runs a command as root, or fails without a word. Asks for a password only on a terminal.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }; }; then
        sudo "$@"
    else
        return 1
    fi
}

# The command that installs Debian packages, as people type it.
apt_line() {
    if [ "$(id -u)" = 0 ]; then echo "apt-get update && apt-get install -y $*"; else echo "sudo apt-get update && sudo apt-get install -y $*"; fi
}

# Installs Debian packages, or says how to.
install_debian() {
    command -v apt-get >/dev/null ||
        { missing "missing: $*" "install what Debian calls so with this system's package manager"; return 1; }
    echo "installing $* ..." >&2
    if as_root apt-get update -qq >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; then
        return 0
    fi
    missing "missing, and could not be installed: $*" "$(apt_line "$@")"
}

# Makes sure that a program is there: its name, then the Debian packages that bring it.
need() {
    local program="$1"
    shift
    command -v "$program" >/dev/null || install_debian "$@"
}

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

RUSTUP_LINE="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"

# The command that installs a Rust toolchain, with the program that fetches it where that is missing too.
rust_line() {
    if command -v curl >/dev/null; then echo "$RUSTUP_LINE"; else echo "$(apt_line curl ca-certificates) && $RUSTUP_LINE"; fi
}

# Installs rustup and its stable toolchain for this user, as its makers say.
install_rust() {
    local line
    line="$(rust_line)"
    need curl curl ca-certificates || { missing "no Rust toolchain, and nothing to fetch one with" "$line"; return 1; }
    echo "installing Rust into ${CARGO_HOME:-$HOME/.cargo} ..." >&2
    # A script that comes in half is not run.
    bash -c "set -o pipefail; $RUSTUP_LINE --profile default" >&2 && hash -r && command -v cargo >/dev/null && return 0
    missing "no Rust toolchain, and none could be installed" "$(rust_line)"
}

# A C linker, and a Rust toolchain that is new enough.
require_rust() {
    local wanted found remedy
    need cc gcc libc6-dev || return 1
    wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)"
    command -v cargo >/dev/null || install_rust || return 1
    if command -v rustup >/dev/null; then remedy="rustup update stable && rustup default stable"; else remedy="$(rust_line)"; fi
    found="$(cargo --version 2>/dev/null | cut -d ' ' -f 2)"
    [ -n "$found" ] || { missing "cargo is there but does not run (needed: Rust $wanted or newer)" "$remedy"; return 1; }
    at_least "${found%%-*}" "$wanted" ||
        { missing "Rust $found is too old (needed: $wanted or newer)" "$remedy"; return 1; }
}

# Formatter and lints, which a toolchain may come without.
require_rust_lints() {
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return 0; fi
    if command -v rustup >/dev/null; then
        rustup component add rustfmt clippy >&2 || missing "rustfmt or clippy is missing" "rustup component add rustfmt clippy"
    else
        install_debian rustfmt rust-clippy
    fi
}

# What compiling for aarch64 needs: Rust's standard library for it, and a C compiler for the parts in C.
install_aarch64() {
    local target=aarch64-unknown-linux-gnu
    [ "$(uname -m)" != aarch64 ] || return 0
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross || return 1
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || return 0
    command -v rustup >/dev/null || { missing "this Rust has no standard library for $target" "install Rust by rustup: $(rust_line)"; return 1; }
    rustup target add "$target" >&2 || missing "no standard library for $target" "rustup target add $target"
}
