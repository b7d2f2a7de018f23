#!/bin/sh
# `make docs`: writes the pages that are made from code, then looks at every link.
set -eu
cd "$(dirname "$0")/.."
. scripts/preflight.sh

exec cargo run --quiet --release --locked -p xtask -- docs
