# Sourced by scripts: what generating and checking the schema needs, in a place of its own (.tools/) but for Go, which
# comes from Debian. Expects ROOT to be the repository's folder. Each function does nothing when all is there.

SCHEMA_VENV="$ROOT/.tools/schema"
TYPESCRIPT_DIR="$ROOT/clients/typescript"

# The compiler of protobuf 4.25 (the oldest whose Python code runs under every runtime since), buf, and pytest.
install_schema_python() {
    local wanted="$ROOT/proto/requirements.txt"
    if ! cmp -s "$wanted" "$SCHEMA_VENV/.requirements"; then
        rm -rf "$SCHEMA_VENV"
        "${PYTHON:-python3}" -m venv "$SCHEMA_VENV" || return 1
        "$SCHEMA_VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || return 1
        cp "$wanted" "$SCHEMA_VENV/.requirements"
    fi
}

# The TypeScript compiler and the protobuf-es plugin, as the package's lock file pins them.
install_schema_typescript() {
    if ! cmp -s "$TYPESCRIPT_DIR/package-lock.json" "$TYPESCRIPT_DIR/node_modules/.installed"; then
        command -v npm >/dev/null || { echo "error: no npm. Debian, Ubuntu: apt-get install nodejs npm" >&2; return 1; }
        (cd "$TYPESCRIPT_DIR" && npm ci --silent --no-audit --no-fund) || return 1
        cp "$TYPESCRIPT_DIR/package-lock.json" "$TYPESCRIPT_DIR/node_modules/.installed"
    fi
}

# Go, its plugins, and the libraries that its generated code needs, all from Debian.
install_schema_go() {
    local packages="golang-go protoc-gen-go-1-5 protoc-gen-go-grpc golang-google-protobuf-dev golang-google-grpc-dev"
    if command -v go >/dev/null && command -v protoc-gen-go >/dev/null && command -v protoc-gen-go-grpc >/dev/null &&
        [ -d /usr/share/gocode/src/google.golang.org/grpc ]; then
        return 0
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "error: Go and its protobuf plugins are missing; as root: apt-get install $packages" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
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
