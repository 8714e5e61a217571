# Sourced by scripts: what measuring needs, in a place of its own (.tools/perf), and the release binaries.
# Expects ROOT to be the repository's folder, and system.sh and python-env.sh to be sourced.

PERF_PYTHON="$ROOT/.tools/perf/bin/python"

# The virtual environment with the peers' packages.
install_perf_tools() {
    local python stamp="$ROOT/.tools/perf/.requirements" wanted="$ROOT/perf/requirements.txt"
    if ! cmp -s "$wanted" "$stamp"; then
        echo "installing what measuring needs into .tools/perf ..." >&2
        python="$(require_python)" || return 1
        [ -x "$PERF_PYTHON" ] || "$python" -m venv "$ROOT/.tools/perf" || return 1
        "$PERF_PYTHON" -m pip install --quiet --disable-pip-version-check -r "$wanted" || return 1
        cp "$wanted" "$stamp"
    fi
}

# The same, and the service's Python package as a release build. JIMBOT_PERF_PACKAGE names a folder that has the package already.
install_perf_python() {
    install_perf_tools || return 1
    if [ -n "${JIMBOT_PERF_PACKAGE:-}" ]; then
        export PYTHONPATH="$JIMBOT_PERF_PACKAGE${PYTHONPATH:+:$PYTHONPATH}"
    else
        install_perf_package
    fi
}

# The package from this checkout, built anew when its sources have changed.
install_perf_package() {
    local stamp="$ROOT/.tools/perf/.package" wheel sources
    sources="$(cd "$ROOT" && find python/src python/jimbot python/Cargo.toml src/shm/src -type f \
        \( -name '*.rs' -o -name '*.py' -o -name '*.toml' \) -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$sources" ]; then
        wheel="$ROOT/.tools/perf/wheel"
        rm -rf "$wheel"
        mkdir -p "$ROOT/python/jimbot.data/scripts"
        (cd "$ROOT/python" && "$ROOT/.tools/perf/bin/maturin" build --quiet --release --locked \
            --interpreter "$PERF_PYTHON" --out "$wheel") || return 1
        "$PERF_PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
            "$wheel"/jimbot-*.whl || return 1
        echo "$sources" >"$stamp"
    fi
}

# The service and the measuring programs, with symbols. JIMBOT_PERF_BIN names a folder that has them already.
build_perf_binaries() {
    if [ -z "${JIMBOT_PERF_BIN:-}" ]; then
        cargo build --release --locked --quiet --manifest-path "$ROOT/Cargo.toml" \
            --package jimbot-mcp --package jimbot-perf --package jimbot-bus-load --package jimbot-peers \
            --package jimbot-bench-convert --package jimbot-logwriter || return 1
        cargo build --release --locked --quiet --manifest-path "$ROOT/Cargo.toml" \
            --package jimbot-shm --example wake_floor --example read_all || return 1
        JIMBOT_PERF_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release"
    fi
    export JIMBOT_PERF_BIN
}

# The load generator alone, which is built in seconds.
build_load_generator() {
    if [ -z "${JIMBOT_PERF_BIN:-}" ]; then
        cargo build --release --locked --quiet --manifest-path "$ROOT/Cargo.toml" --package jimbot-perf || return 1
        JIMBOT_PERF_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release"
    fi
    export JIMBOT_PERF_BIN
}

# Unpacks the system's Redis into .tools/perf/redis, with what it needs and is not here; the system stays as it is, and
# nobody need be root. redis-tools carries the server's binary. Without apt-get a redis-server in the PATH serves.
install_redis() {
    local place="$ROOT/.tools/perf/redis" apt package
    if [ -x "$place/usr/bin/redis-check-rdb" ]; then return 0; fi
    if ! command -v apt-get >/dev/null; then
        command -v redis-server >/dev/null || missing "missing: redis-server" "install it with this system's package manager"
        return
    fi
    echo "unpacking Redis into .tools/perf/redis ..." >&2
    rm -rf "$place"
    mkdir -p "$place/apt/lists/partial" "$place/apt/archives/partial" || return 1
    apt=(apt-get -qq -o "Dir::State::lists=$place/apt/lists" -o "Dir::Cache=$place/apt" -o Debug::NoLocking=1)
    "${apt[@]}" update || return 1
    "${apt[@]}" install --download-only --reinstall --yes --no-install-recommends redis-tools >/dev/null || return 1
    for package in "$place"/apt/archives/*.deb; do
        dpkg --extract "$package" "$place" || return 1
    done
    rm -rf "$place/apt"
}

# A profiler from the system: its package, and the program that is in it.
install_profiler() { need "$2" "$1"; }

# The kernel's profiler. Ubuntu has one for each kernel, and a program in its place that says so.
install_perf() {
    if perf --version >/dev/null 2>&1; then return 0; fi
    if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then
        install_debian linux-tools-common "linux-tools-$(uname -r)"
    else
        install_debian linux-perf
    fi
}

# Flame graphs out of what perf has recorded.
INFERNO_VERSION="0.12.8"
install_inferno() {
    [ -x "$ROOT/.tools/inferno/bin/inferno-flamegraph" ] ||
        cargo install --quiet --locked --root "$ROOT/.tools/inferno" "inferno@$INFERNO_VERSION"
}
