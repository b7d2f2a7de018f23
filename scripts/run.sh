#!/bin/sh
# `make run`: builds the command line and starts everything in one process. Arguments go to `tidewire dev`.
set -eu
cd "$(dirname "$0")/.."
. scripts/preflight.sh

# shellcheck disable=SC2086 # flags are words
cargo build --release --locked $TIDEWIRE_CARGO_FLAGS -p tidewire
exec "$TIDEWIRE_TARGET/release/tidewire" dev "$@"
