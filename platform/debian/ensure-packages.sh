#!/bin/sh
# Installs what packages.txt lists and this machine lacks.  Quiet and quick if nothing is missing.
# With --check it only says what is missing (exit 1).
set -u
list=$(dirname "$0")/packages.txt
check_only=no
[ "${1:-}" = --check ] && check_only=yes

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "ensure-packages: this is no Debian system; install the equivalents of $list by hand" >&2
    exit 1
fi

wanted=$(sed 's/#.*//' "$list" | tr -s ' \t\n' '\n' | sed '/^$/d' | sort -u)
# A package may also be there under another name (pkgconf provides pkg-config), so ask for both.
present=$(dpkg-query -W -f='${db:Status-Status} ${Package}, ${Provides}\n' |
    sed -n 's/^installed //p' | tr ',' '\n' | sed 's/^ *//; s/[ :(].*//; /^$/d' | sort -u)
missing=
for package in $wanted; do
    printf '%s\n' "$present" | grep -qxF "$package" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

echo "ensure-packages: missing:$missing"
[ $check_only = yes ] && exit 1
if [ "$(id -u)" -eq 0 ]; then
    run=
elif command -v sudo > /dev/null; then
    run=sudo
else
    echo "ensure-packages: neither root nor sudo here; have somebody run:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi
# shellcheck disable=SC2086 # lists of words on purpose
$run env DEBIAN_FRONTEND=noninteractive apt-get install --yes $missing && exit 0
echo "ensure-packages: perhaps the package lists are old; trying again after apt-get update" >&2
# shellcheck disable=SC2086
$run apt-get update &&
    $run env DEBIAN_FRONTEND=noninteractive apt-get install --yes $missing && exit 0
echo "ensure-packages: apt-get could not install:$missing" >&2
exit 1
