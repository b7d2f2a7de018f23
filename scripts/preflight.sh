# shellcheck shell=sh
# What a build needs, looked at before it starts. Sourced, from the root of the project, by the other scripts;
# installs nothing. It leaves behind
#   TIDEWIRE_CARGO_FLAGS  for every cargo command: --no-default-features where Kafka over TLS can't be built
#   TIDEWIRE_TARGET       the target folder
#   CXX                   a stand-in where there is no C++ compiler (see cxx-stand-in.sh)

say() { printf '%s\n' "$*" >&2; }

# How this system gets a C compiler, make and perl.
advice() {
    case $(uname -s) in
        Darwin)
            say "  macOS:          xcode-select --install"
            return
            ;;
        MINGW* | MSYS* | CYGWIN*)
            say "  Windows:        use WSL (wsl --install), and run this inside it"
            return
            ;;
    esac
    family=
    if [ -r /etc/os-release ]; then
        # shellcheck disable=SC1091 # a file of the system
        family=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
    fi
    case $family in
        *debian* | *ubuntu*) say "  Debian, Ubuntu: sudo apt-get install build-essential perl" ;;
        *fedora* | *rhel*) say "  Fedora:         sudo dnf install gcc gcc-c++ make perl-core" ;;
        *arch*) say "  Arch:           sudo pacman -S --needed base-devel perl" ;;
        *suse*) say "  openSUSE:       sudo zypper install gcc gcc-c++ make perl" ;;
        *alpine*) say "  Alpine:         apk add build-base bash linux-headers perl" ;;
        *) say "  install a C compiler with the C library's headers, GNU make, bash and perl" ;;
    esac
}

# The version as one number, for comparison: 1.95.0 is 1095000.
version_number() {
    echo "$1" | awk -F '[.-]' '{ printf "%d", $1 * 1000000 + $2 * 1000 + $3 }'
}

check_rust() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        export PATH
    fi
    if ! command -v cargo >/dev/null; then
        say "missing: Rust. Get it from https://rustup.rs (needs no root), open a new shell, try again."
        return 1
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! had=$(cargo --version); then
        say "cargo does not start: rustup has to fetch the toolchain of rust-toolchain.toml; see above."
        return 1
    fi
    had=${had#cargo }
    had=${had%% *}
    if [ "$(version_number "$had")" -lt "$(version_number "$wanted")" ]; then
        say "too old: Rust $had; $wanted or newer is needed. With rustup (https://rustup.rs) the right one comes by itself."
        return 1
    fi
}

check_c() {
    compiler=${CC:-cc}
    if ! command -v "$compiler" >/dev/null; then
        say "missing: a C compiler ($compiler)."
        return 1
    fi
    scratch=$(mktemp -d)
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$scratch/try.c"
    works=0
    "$compiler" -o "$scratch/try" "$scratch/try.c" >"$scratch/log" 2>&1 || works=1
    [ "$works" = 0 ] || say "the C compiler ($compiler) makes no program: $(head -n 1 "$scratch/log")"
    rm -rf "$scratch"
    return "$works"
}

# librdkafka compiles a C++ wrapper that nothing here links: no reason to ask for a C++ compiler.
check_cxx() {
    for compiler in ${CXX:+"$CXX"} c++ g++ clang++; do
        if command -v "$compiler" >/dev/null; then return; fi
    done
    CXX=$(pwd)/scripts/cxx-stand-in.sh
    export CXX
}

# OpenSSL, which Kafka over TLS needs, is configured by a perl script; a slim perl lacks modules of it.
check_perl() {
    TIDEWIRE_CARGO_FLAGS=
    if perl -MFindBin -MIPC::Cmd -MFile::Copy -MFile::Compare -MFile::Path -MFile::Spec::Functions \
        -MGetopt::Long -MData::Dumper -MPOSIX -e 1 >/dev/null 2>&1; then
        return
    fi
    TIDEWIRE_CARGO_FLAGS=--no-default-features
    say "************************************************************************************"
    say "** Kafka over TLS is LEFT OUT of this build: OpenSSL needs perl with its modules,  **"
    say "** and this perl lacks some or is not there. Everything else works. To have it:    **"
    advice
    say "************************************************************************************"
}

preflight() {
    missing=0
    check_rust || missing=rust
    check_c || missing=c
    # Not through a pipe: under pipefail a reader that has seen enough makes the writer fail.
    case $(make --version 2>/dev/null) in
        *GNU*) ;;
        *)
            say "missing: GNU make."
            missing=c
            ;;
    esac
    if ! command -v bash >/dev/null; then
        say "missing: bash (librdkafka is configured by a bash script)."
        missing=c
    fi
    if [ "$missing" = c ]; then
        say "How to get a C compiler and make here:"
        advice
    fi
    [ "$missing" = 0 ] || return 1
    check_cxx
    check_perl
    TIDEWIRE_TARGET=${CARGO_TARGET_DIR:-target}
    export TIDEWIRE_TARGET TIDEWIRE_CARGO_FLAGS
    if grep -qi microsoft /proc/version 2>/dev/null; then
        case $(pwd) in
            /mnt/*) say "note: builds are many times slower under /mnt; clone into your Linux home folder." ;;
        esac
    fi
    if [ ! -x "$TIDEWIRE_TARGET/release/tidewire" ]; then
        say "The first build takes 4 to 5 minutes on 2 cores (it compiles librdkafka and OpenSSL) and 2 GB of disk."
    fi
}

preflight || exit 1
