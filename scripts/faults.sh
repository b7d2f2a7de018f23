#!/usr/bin/env bash
# `make faults`: kills, freezes and cuts off real brokers, Redis, capture and gateways by a seeded plan, while the
# checker judges what was owed and what came. Arguments: `ci` (about five minutes; also a part of `make test`) or
# `long` (half an hour), then any of --seed, --events, --rate, --sockets, --kills with a number. What a run
# leaves is in target/faults/<size>: summary.md, faults.log, account.log, report.json, and the logs.
# `storm` drops 10,000 sockets at once instead (a minute; --sockets says how many), and prints its figures.
# `alerts` strikes one of three brokers after the other while two replicas of `alerts` run and are killed (some ten
# minutes; --kills says how many brokers are struck, --seed), and prints its figures.
set -euo pipefail
cd "$(dirname "$0")/.."

size=${1:-long}
[ "$#" = 0 ] || shift
case $size in
    ci) tests=(the_small_run_loses_nothing) ;;
    long) tests=(the_long_run_loses_nothing) ;;
    storm) tests=(a_large_storm_from_the_window_loses_nothing a_large_storm_from_kafka_loses_nothing) ;;
    alerts) tests=(alerts_are_neither_lost_nor_doubled_when_brokers_fail_for_long) ;;
    *)
        echo "faults: the size is 'ci', 'long', 'storm' or 'alerts', not '$size'" >&2
        exit 64
        ;;
esac
while [ "$#" -gt 0 ]; do
    if [ "$size" = storm ] && [ "$1" != --sockets ]; then
        echo "faults: a storm takes --sockets, not '$1'" >&2
        exit 64
    fi
    if [ "$size" = alerts ] && [ "$1" != --kills ] && [ "$1" != --seed ]; then
        echo "faults: the run of alerts takes --kills and --seed, not '$1'" >&2
        exit 64
    fi
    case $1 in
        --seed | --events | --rate | --sockets | --kills) ;;
        *)
            echo "faults: unknown argument '$1'" >&2
            exit 64
            ;;
    esac
    case ${2:-} in
        '' | *[!0-9]*)
            echo "faults: $1 wants a number" >&2
            exit 64
            ;;
    esac
    name=${1#--}
    export "TIDEWIRE_FAULTS_${name^^}=$2"
    shift 2
done

. scripts/preflight.sh
export PATH=$PATH:/usr/sbin:/usr/local/sbin
scripts/test-setup.sh

# shellcheck disable=SC2086 # flags are words
cargo build --release --locked $TIDEWIRE_CARGO_FLAGS --workspace
# shellcheck disable=SC2086 # flags are words
exec cargo test --release --locked $TIDEWIRE_CARGO_FLAGS -p tidewire-tests --test faults -- \
    --include-ignored --exact --nocapture "${tests[@]}"
