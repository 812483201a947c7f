#!/usr/bin/env bash
# Builds and tests in a Debian 13 root (mbedtls 3.6, libuv 1.50, nghttp2 1.64), made new each time,
# what is committed.  Takes root, as CI has it.  The archive is the one that this machine's apt uses.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "debian13: needs root for a chroot"; exit 1; }
command -v mmdebstrap >/dev/null || apt-get install -y -qq mmdebstrap >/dev/null

root=$(mktemp -d /tmp/fermata-debian13-XXXXXX)
unmount() {
    local mount
    for mount in "$root/proc" "$root/dev/shm"; do
        if mountpoint -q "$mount"; then umount "$mount" || umount --lazy "$mount"; fi
    done
    rm -rf --one-file-system "$root"
}
trap unmount EXIT
trap 'exit 1' HUP INT TERM

archive=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
packages=$(platform/debian/ensure-packages.sh --list | paste -sd,)
mmdebstrap --quiet --variant=apt --include="git,ca-certificates,$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    trixie "$root" "$archive"

git clone -q . "$root/src"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    make --no-print-directory -C /src test CFLAGS='-O2 -g -Werror' SEEDS=100
