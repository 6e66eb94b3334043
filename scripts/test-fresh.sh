#!/bin/sh
# test-fresh.sh [--sudo]: `make demo` and `make test` of HEAD on a fresh machine:
# a minimal Debian (or Ubuntu, as the host is) made by debootstrap, with make, a C
# compiler and the host's Rust toolchain, and nothing else. With --sudo both run
# as an ordinary user who has sudo.
#
# From the host come the package mirror, the settings of apt and of cargo, its
# certificates, and the crates that it has downloaded already. Needs root. All is
# removed at the end, whatever happened.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'test-fresh: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

user=root packages=make,gcc,libc6-dev,ca-certificates
case ${1-} in
'') ;;
--sudo) user=builder packages=$packages,sudo ;;
*) fail "unknown argument: $1" ;;
esac
[ "$(id -u)" = 0 ] || fail "only root can make a root file system"
for command in debootstrap unshare git rustc apt-get; do
    command -v $command >/dev/null || fail "$command is missing"
done
commit=$(git rev-parse --short HEAD) || fail "there is no commit to test"
[ -z "$(git status --porcelain)" ] || say "what is not committed is not tested"

root=$(mktemp -d)
log=$root.log
trap 'rm -rf --one-file-system "$root" "$log"' EXIT
trap 'exit 130' HUP INT TERM
chmod 755 "$root"

# --- The machine -------------------------------------------------------------

. /etc/os-release
components=main
[ "$ID" != ubuntu ] || components=main,universe # where Ubuntu has etcd
mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' "Codename: $VERSION_CODENAME" | head -n 1)
say "$ID $VERSION_CODENAME from $mirror"
debootstrap --variant=minbase --components=$components --include=$packages \
    "$VERSION_CODENAME" "$root" ${mirror:+"$mirror"} >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail "debootstrap failed"
}
apt-config dump Acquire | grep -E '^Acquire::(https?|Retries|Check-)' \
    >"$root/etc/apt/apt.conf.d/90host" || : # the host may have no such settings
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -d /usr/local/share/ca-certificates ]; then
    cp -R /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
fi
chroot "$root" update-ca-certificates >/dev/null 2>&1

home=$root/root
if [ $user != root ]; then
    chroot "$root" useradd --create-home $user
    echo "$user ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$user"
    home=$root/home/$user
fi
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir -p "$home/.cargo/registry" "$root/opt/rust"
for name in config.toml config registry/index registry/cache; do
    [ ! -e "$cargo_home/$name" ] || cp -R "$cargo_home/$name" "$home/.cargo/$name"
done
git clone --quiet --no-hardlinks . "$home/libhmkv"
chroot "$root" chown -R $user: "${home#"$root"}"

# --- The two commands --------------------------------------------------------

# The environment is empty but for what says how to reach the network.
set -- env -i PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 HOME="${home#"$root"}" USER=$user
settings='^((https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|CARGO_(HTTP|NET|SOURCE)_[A-Z_]*)='
while read -r setting; do
    [ -z "$setting" ] || set -- "$@" "$setting"
done <<END
$(env | grep -E "$settings" || :)
END
[ $user = root ] || set -- setpriv --reuid=$user --regid=$user --init-groups "$@"

# Mounts and processes live in namespaces of their own and end with them, so that
# removing the folder can never reach the host's files.
ROOT=$root TOOLCHAIN=$(rustc --print sysroot)
export ROOT TOOLCHAIN
fresh() {
    unshare --mount --pid --fork --kill-child sh -euc '
        mount --bind "$TOOLCHAIN" "$ROOT/opt/rust"
        mount -o remount,bind,ro "$ROOT/opt/rust"
        mount -t proc proc "$ROOT/proc"
        mount --rbind /dev "$ROOT/dev"
        exec chroot "$ROOT" "$@"
    ' sh "$@" </dev/null
}
for target in demo test; do
    say "make $target, as $user"
    fresh "$@" sh -euc 'cd ~/libhmkv && make "$1"' sh $target || fail "make $target failed as $user"
done
say "passed: make demo and make test of $commit on $ID $VERSION_CODENAME as $user"
