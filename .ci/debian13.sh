#!/usr/bin/env bash
# Builds and tests in a Debian 13 root (mbedtls 3.6, libuv 1.50, nghttp2 1.64), made new each time.
# Takes root, as CI has it.  The archive is the one that this machine's apt already uses.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "debian13: needs root for a chroot"; exit 1; }
command -v mmdebstrap >/dev/null || apt-get install -y -qq mmdebstrap

root=$(mktemp -d /tmp/fermata-debian13-XXXXXX)
unmount() {
    umount "$root/proc" "$root/dev/shm" 2>/dev/null || :
    rm -rf --one-file-system "$root"
}
trap unmount EXIT

archive=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
packages=$(grep -v '^#' platform/debian/packages.txt | tr -s ' \n' ',' | sed 's/^,//; s/,$//')
mmdebstrap --quiet --variant=apt --include="git,ca-certificates,$packages" trixie "$root" "$archive"

git clone -q . "$root/src"
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    make -C /src -j"$(nproc)" CFLAGS='-O2 -g -Werror' SEEDS=100 all unit replay sim system
