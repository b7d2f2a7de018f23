#!/bin/sh
# `make bench`: measures a real gateway process against raw floors of the same run; writes docs/perf.
set -eu
cd "$(dirname "$0")/.."
. scripts/preflight.sh

# shellcheck disable=SC2086 # flags are words
cargo build --release --locked $TIDEWIRE_CARGO_FLAGS --workspace
exec "$TIDEWIRE_TARGET/release/tidewire" bench --write docs/perf "$@"
