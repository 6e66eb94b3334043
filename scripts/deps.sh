#!/bin/sh
# Installs what building and testing need and this machine lacks; does nothing
# where all is there. Knows apt-get; elsewhere it tells what to install.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'deps: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Rust is the user's own: the distributions' is often too old.
check_rust() {
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    hint="install Rust $needed or later, see https://rustup.rs"
    { have cargo && have rustc; } || fail "cargo or rustc is missing: $hint"
    found=$(rustc --version | cut -d ' ' -f 2)
    oldest=$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ] || fail "this is Rust $found: $hint"
    for component in rustfmt clippy; do
        cargo "${component#rust}" --version >/dev/null 2>&1 ||
            { have rustup && rustup component add "$component"; } ||
            fail "$component is missing: install it with your Rust toolchain"
    done
}

# etcd's interface definitions import files that libprotobuf-dev brings.
have_protos() {
    dir=$(mktemp -d)
    echo 'syntax = "proto3"; import "google/protobuf/descriptor.proto";' >"$dir/a.proto"
    rc=0
    "${PROTOC:-protoc}" -I "$dir" ${PROTOC_INCLUDE:+-I "$PROTOC_INCLUDE"} -o /dev/null \
        "$dir/a.proto" >/dev/null 2>&1 || rc=$?
    rm -r "$dir"
    return "$rc"
}

# A test reads metrics with it. The distribution's module is for its own python3.
have_prometheus_client() {
    for python in python3 /usr/bin/python3; do
        "$python" -c "import prometheus_client.parser" >/dev/null 2>&1 && return
    done
    return 1
}

# Prints "what Debian-package" for each thing that is not there.
missing() {
    while read -r command package; do
        have "$command" || echo "$command $package"
    done <<END
cc gcc
c++ g++
cmake cmake
ctest cmake
${PROTOC:-protoc} protobuf-compiler
etcd etcd-server
etcdctl etcd-client
jq jq
openssl openssl
pkg-config pkg-config
python3 python3
valgrind valgrind
END
    while read -r module package; do
        pkg-config --exists "$module" 2>/dev/null || echo "$module $package"
    done <<END
libuv libuv1-dev
libevent_core libevent-dev
glib-2.0 libglib2.0-dev
libsystemd libsystemd-dev
END
    have_protos || echo "google/protobuf/*.proto libprotobuf-dev"
    have_prometheus_client || echo "prometheus_client python3-prometheus-client"
    [ ! -e .git ] || have git || echo "git git"
}

install_packages() {
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif ! have sudo; then
        say "neither root nor sudo here"
        return 1
    elif [ -t 0 ]; then
        sudo=sudo
    else
        sudo="sudo -n" # nobody is there to type a password
    fi
    if ! have apt-get; then
        say "no apt-get here"
        return 1
    fi
    say "installing: $*"
    apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get"
    known=yes
    for package; do
        apt-cache show "$package" >/dev/null 2>&1 || known=no
    done
    [ $known = yes ] || $apt update -q || return 1
    # Known, and yet not to be had, is a list that is too old.
    $apt install -q -y --no-install-recommends "$@" ||
        { [ $known = yes ] && $apt update -q && $apt install -q -y --no-install-recommends "$@"; } ||
        return 1
    # Debian starts a server with the package, and again at each boot. The tests
    # start their own, and nobody asked for one.
    case " $* " in
    *" etcd-server "*)
        $sudo update-rc.d etcd disable >&2 || :
        $sudo invoke-rc.d etcd stop >&2 || :
        ;;
    esac
}

names() { echo "$lacking" | cut -d ' ' -f "$1" | sort -u | paste -s -d ' '; }

check_rust
lacking=$(missing)
[ -n "$lacking" ] || exit 0
packages=$(names 2)
say "missing: $(names 1)"
# shellcheck disable=SC2086 # a list of words
install_packages $packages ||
    fail "cannot install; install these packages, or what your system calls them: $packages"
lacking=$(missing)
[ -z "$lacking" ] || fail "still missing after the install: $(names 1)"
