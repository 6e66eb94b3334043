#!/bin/sh
# run.sh STEP WORK LIBRARY STATIC_LIBRARY: one step of the install test.
#
# Two trees: WORK/prefix is installed where it stays; WORK/stage is a package's
# staging area for /usr with a library folder of its own, and is used from where
# it lies, which the CMake package allows.
set -eu
step=$1
work=${2:?}
library=$3
static=$4
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=$work/prefix
stage=$work/stage
stage_libdir=/usr/lib/some-arch
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL DESTDIR # ours is no part of an outer make

fail() {
    echo "install $step: $*" >&2
    exit 1
}
make_prefix() { make -s -C "$root" "$1" SHARED="$library" STATIC="$static" PREFIX="$prefix"; }
make_stage() {
    make -s -C "$root" "$1" SHARED="$library" STATIC="$static" \
        PREFIX=/usr LIBDIR=$stage_libdir DESTDIR="$stage"
}
version() { sed -n 's/^#define HMKV_VERSION "\(.*\)"/\1/p' "$root/include/hmkv.h"; }

# The program runs, and needs libhmkv.so exactly if it is to.
verify() { # PROGRAM shared|static
    said=$("$1") || fail "the consumer failed"
    [ "$said" = "hello from libhmkv $(version)" ] || fail "the consumer said: $said"
    needs=static
    ! readelf -d "$1" | grep -q 'NEEDED.*libhmkv\.so' || needs=shared
    [ "$needs" = "$2" ] || fail "linked $needs, not $2"
    echo "$step: $said"
}
pkgconfig() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config "$@" hmkv; }
with_cmake() { # shared|static TARGET
    rm -rf "$work/$step"
    cmake -S "$here/cmake" -B "$work/$step" -DTARGET="$2" \
        -DCMAKE_PREFIX_PATH= -Dhmkv_DIR="$stage$stage_libdir/cmake/hmkv"
    cmake --build "$work/$step"
    verify "$work/$step/consumer" "$1"
}

case $step in
setup)
    rm -rf "$prefix" "$stage"
    make_prefix install
    make_stage install
    grep -q '^prefix=/usr$' "$stage$stage_libdir/pkgconfig/hmkv.pc" ||
        fail "hmkv.pc names the staging area"
    [ "$(pkgconfig --modversion)" = "$(version)" ] || fail "hmkv.pc has another version"
    ;;
pkgconfig-shared)
    # shellcheck disable=SC2046 # flags are words
    "${CC:-cc}" -o "$work/shared" "$here/consumer.c" $(pkgconfig --cflags --libs) \
        -Wl,-rpath,"$prefix/lib"
    verify "$work/shared" shared
    ;;
pkgconfig-static)
    # Without the shared library -lhmkv is libhmkv.a, and the flags that pkg-config
    # tells have to be enough.
    rm -rf "$work/only-static"
    mkdir "$work/only-static"
    cp "$prefix/lib/libhmkv.a" "$work/only-static"
    # shellcheck disable=SC2046
    "${CC:-cc}" -o "$work/static" "$here/consumer.c" $(pkgconfig --cflags) \
        $(pkgconfig --static --libs --define-variable=libdir="$work/only-static")
    verify "$work/static" static
    ;;
cmake-shared) with_cmake shared hmkv::hmkv ;;
cmake-static) with_cmake static hmkv::hmkv_static ;;
uninstall)
    make_prefix uninstall
    make_stage uninstall
    left=$(find "$prefix" "$stage" ! -type d -o -name hmkv)
    [ -z "$left" ] || fail "left behind: $left"
    ;;
*) fail "no such step" ;;
esac
