#!/usr/bin/env bash
# `make check`: every check that needs no server. Goes on after a failure, so that one run shows them all.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/preflight.sh

failed=()

step() {
    local name=$1 began=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then
        printf -- '-- %s: ok, %s s\n' "$name" "$((SECONDS - began))"
    else
        printf -- '-- %s: FAILED, %s s\n' "$name" "$((SECONDS - began))"
        failed+=("$name")
    fi
}

xtask() { cargo run --quiet --release --locked -p xtask -- "$@"; }

# Every shell script of ours, those without a suffix too.
shell_scripts() {
    local scripts=(.ci/run)
    mapfile -t -O 1 scripts < <(find scripts deploy tests -name node_modules -prune -o -name '*.sh' -print | sort)
    shellcheck --external-sources "${scripts[@]}"
}

step "formatting" cargo fmt --all --check
step "layers" xtask layers
step "generated pages and links" xtask docs --check
step "length of files" xtask files
# shellcheck disable=SC2086 # flags are words
step "lints" cargo clippy --release --locked $TIDEWIRE_CARGO_FLAGS --workspace --all-targets -- -D warnings
if command -v shellcheck >/dev/null; then
    step "shell scripts" shell_scripts
else
    echo "SKIPPED: shell scripts: shellcheck is not installed"
fi
if command -v cargo-deny >/dev/null; then
    # Advisories need a network, and change without a commit: not here.
    step "licences, bans, sources" cargo deny --locked check bans licenses sources
else
    echo "SKIPPED: licences, bans, sources: cargo-deny is not installed"
fi

if [ "${#failed[@]}" -gt 0 ]; then
    printf '\ncheck: FAILED:'
    printf ' %s;' "${failed[@]}"
    printf '\n'
    exit 1
fi
printf '\ncheck: all is well\n'
