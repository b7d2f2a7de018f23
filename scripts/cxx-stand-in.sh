#!/bin/sh
# Stands in for a C++ compiler where there is none: the build of librdkafka also compiles a C++ wrapper of
# itself, which nothing in Tidewire links. Each C++ source becomes an empty object, made by the C compiler.
# scripts/preflight.sh sets CXX to this file when neither c++, g++ nor clang++ is installed.
set -eu

if [ "${1:-}" = --version ]; then
    echo "stand-in for a C++ compiler"
    exit 0
fi

left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    left=$((left - 1))
    case $argument in
        *.cpp | *.cc) set -- "$@" -x c /dev/null -x none ;;
        -std=* | -lstdc++ | -Wno-*) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec "${CC:-cc}" "$@"
