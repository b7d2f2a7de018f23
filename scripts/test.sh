#!/usr/bin/env bash
# `make test`: fetches what tests need, builds the binaries, runs every test, then the checks of what is
# deployed. Ends with all that was skipped. Arguments go to cargo test (`make test ARGS="-p tidewire-wire"`).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/preflight.sh
# Where Debian keeps nginx, haproxy and redis from those who are not root.
export PATH=$PATH:/usr/sbin:/usr/local/sbin

mkdir -p "$TIDEWIRE_TARGET"
log=$TIDEWIRE_TARGET/test.log
: >"$log"
failed=()

# A passing test's output would be lost, and with it what it skipped: so it is shown, but only in the log.
# What stands on the terminal leaves out those sections and the tests that passed.
digest() {
    awk '
        /^successes:$/ { quiet = 1 }
        /^(failures:|test result:)/ { quiet = 0 }
        /^SKIPPED: / { print; next }
        quiet || /^test .* \.\.\. ok$/ || /^running 0 tests$/ || /^$/ { next }
        { print; fflush() }'
}

scripts/test-setup.sh 2>&1 | tee -a "$log"

# Tests of the workspace bring the binaries along: they are built for the services' own tests, with what those
# add to tokio, and building them without that as well would compile nearly everything a second time.
scope=(--workspace)
if [ "$#" -gt 0 ]; then
    scope=("$@")
    # shellcheck disable=SC2086 # flags are words
    cargo build --release --locked $TIDEWIRE_CARGO_FLAGS --workspace
fi
# shellcheck disable=SC2086 # flags are words
cargo test --release --locked --no-fail-fast $TIDEWIRE_CARGO_FLAGS "${scope[@]}" -- --show-output 2>&1 |
    tee -a "$log" | digest || failed+=("cargo test")

if [ "$#" = 0 ]; then
    for script in tests/deploy/*.sh; do
        [ -e "$script" ] || continue
        printf '\n== %s\n' "$script"
        bash "$script" 2>&1 | tee -a "$log" || failed+=("$script")
    done
fi

echo
skipped=$(grep -c 'SKIPPED: ' "$log" || true)
if [ "$skipped" -gt 0 ]; then
    echo "************************ SKIPPED on this machine ************************"
    grep -ho 'SKIPPED: .*' "$log" | sort | uniq -c
    echo "*************************************************************************"
fi
if [ "${#failed[@]}" -gt 0 ]; then
    echo "test: FAILED: ${failed[*]} (all output: $log)"
    exit 1
fi
if [ "$skipped" -gt 0 ]; then
    echo "test: what ran passed; $skipped parts were skipped (see above)"
else
    echo "test: all passed"
fi
