#!/usr/bin/env bash
# What the tests need besides a build: real servers, clients in other languages, a browser. Installs what is
# missing by apt where it may (root, or sudo without a password, on Debian or Ubuntu); else names it and goes
# on: the tests that need it say SKIPPED. With TIDEWIRE_TEST_REQUIRE_REAL=1 a missing one is an error.
# The rest the tests' own kit (tests/testkit) fetches into the target folder when the first test wants it: Apache
# Kafka by Maven, confluent-kafka by pip, playwright-core by npm.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
lacking=()

# command, Debian package, what it is for
readonly PARTS=(
    "java       default-jdk-headless  Apache_Kafka"
    "javac      default-jdk-headless  the_Java_client"
    "mvn        maven                 Apache_Kafka"
    "redis-server redis-server        Redis"
    "redis-sentinel redis-sentinel    Redis_Sentinel"
    "kcat       kcat                  records_from_the_command_line"
    "chromium   chromium              the_page_in_a_browser"
    "node       nodejs                the_page_in_a_browser"
    "npm        npm                   the_page_in_a_browser"
    "nginx      nginx-light           the_proxy_samples"
    "haproxy    haproxy               the_proxy_samples"
    "promtool   prometheus            the_alert_rules"
)

has() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null; }

# Either of the two that docker-compose.yml is written for.
has_compose() { has docker-compose || docker compose version >/dev/null 2>&1; }

has_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

missing_packages() {
    local part command package
    for part in "${PARTS[@]}"; do
        read -r command package _ <<<"$part"
        has "$command" || echo "$package"
    done
    has_venv || printf '%s\n' python3 python3-venv
    has_compose || echo docker-compose
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    has apt-get && { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }
}

# A server that is installed for its tests must not also start as a service of the machine.
install() {
    local policy=/usr/sbin/policy-rc.d ours=no failed=0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    as_root apt-get update -q -o=Dpkg::Use-Pty=0 >"$target/apt.log" 2>&1 || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends -o=Dpkg::Use-Pty=0 "$@" >>"$target/apt.log" 2>&1 || failed=1
    [ "$ours" = no ] || as_root rm -f "$policy"
    return "$failed"
}

mapfile -t packages < <(missing_packages | sort -u)
if [ "${#packages[@]}" -gt 0 ]; then
    if may_install; then
        echo "installing for the tests: ${packages[*]}"
        if ! install "${packages[@]}"; then
            tail -n 5 "$target/apt.log" >&2
            # One that can't be had must not keep the others away.
            for package in "${packages[@]}"; do install "$package" || true; done
        fi
    elif has apt-get; then
        echo "for all tests: sudo apt-get install --no-install-recommends ${packages[*]}"
    else
        echo "for all tests, install what Debian calls: ${packages[*]}"
    fi
fi
for part in "${PARTS[@]}"; do
    read -r command package purpose <<<"$part"
    has "$command" || lacking+=("$command (Debian: $package): ${purpose//_/ }")
done

has_venv || lacking+=("python3 with venv (Debian: python3-venv): the Python client")
has_compose || lacking+=("docker-compose (Debian: docker-compose): the compose file")

for part in "${lacking[@]}"; do
    echo "SKIPPED: what needs $part"
done
if [ "${#lacking[@]}" -gt 0 ] && [ "${TIDEWIRE_TEST_REQUIRE_REAL:-}" = 1 ]; then
    echo "error: TIDEWIRE_TEST_REQUIRE_REAL=1, and ${#lacking[@]} parts are missing" >&2
    exit 1
fi
