#!/usr/bin/env bash
# Alert rules, Prometheus configuration and dashboard: sound, tried, and in step with the table of metrics.
set -euo pipefail

cd "$(dirname "$0")/../.."
for program in promtool python3; do
    if ! command -v "$program" >/dev/null; then
        package=$program
        [ "$program" = promtool ] && package=prometheus
        echo "SKIPPED: alert rules and dashboard: no $program on the path (apt install $package)" >&2
        [ "${TIDEWIRE_TEST_REQUIRE_REAL:-0}" = 1 ] && exit 1
        exit 0
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 tests/deploy/metrics.py >"$work/dashboard.yml"
promtool check rules --lint-fatal deploy/prometheus/rules/tidewire.yml "$work/dashboard.yml" >"$work/out" 2>&1 ||
    { cat "$work/out" >&2; exit 1; }
promtool check config --syntax-only deploy/prometheus/prometheus.yml
promtool test rules deploy/prometheus/tidewire.test.yml
