#!/bin/sh
# Installs what packages.txt lists and this machine lacks.  Quiet and quick if nothing is missing.
#
# usage: ensure-packages.sh [--check | --list] [SECTION...]
#
# Without sections it takes all but [interop].  --check only says what is missing (exit 1), --list
# prints the names.
set -u
list=$(dirname "$0")/packages.txt
mode=install
case "${1:-}" in
--check | --list)
    mode=$1
    shift
    ;;
esac
[ $# -eq 0 ] && set -- build demo test

wanted=$(for section in "$@"; do
    sed -n "/^\[$section\]/,/^\[/ { /^[#[]/d; /^\$/d; p }" "$list"
done | sort -u)
if [ "$mode" = --list ]; then
    printf '%s\n' "$wanted"
    exit 0
fi
if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "ensure-packages: this is no Debian system; install the equivalents of $list by hand" >&2
    exit 1
fi

# A package may also be there under another name (pkgconf provides pkg-config), so ask for both.
present=$(dpkg-query -W -f='${db:Status-Status} ${Package}, ${Provides}\n' |
    sed -n 's/^installed //p' | tr ',' '\n' | sed 's/^ *//; s/[ :(].*//; /^$/d' | sort -u)
missing=
for package in $wanted; do
    printf '%s\n' "$present" | grep -qxF "$package" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

echo "ensure-packages: missing:$missing"
[ "$mode" = --check ] && exit 1
if [ "$(id -u)" -eq 0 ]; then
    run=
elif command -v sudo > /dev/null; then
    run=sudo
else
    echo "ensure-packages: neither root nor sudo here; have somebody run:" >&2
    echo "    apt-get install$missing" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Quiet unless it fails.
install_missing() {
    # shellcheck disable=SC2086 # lists of words on purpose
    $run env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet $missing > "$log" 2>&1
}
if install_missing; then
    echo "ensure-packages: installed"
    exit 0
fi
echo "ensure-packages: perhaps the package lists are old; trying again after apt-get update"
if $run apt-get update --quiet > "$log" 2>&1 && install_missing; then
    echo "ensure-packages: installed"
    exit 0
fi
cat "$log" >&2
echo "ensure-packages: apt-get could not install:$missing" >&2
exit 1
