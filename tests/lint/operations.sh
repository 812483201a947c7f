#!/bin/sh
# Every log event and every metric in the sources is explained in docs/OPERATIONS.md, and the other
# way round.
set -u
cd "$(dirname "$0")/../.." || exit 2
guide=docs/OPERATIONS.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    grep -rhoE 'log_(error|warn|info|debug)\("[a-z0-9_.]+"' src platform | sed 's/.*("//; s/"//'
    grep -rhoE '"(fermata|process)_[a-z0-9_]+"' src | tr -d '"'
} | sort -u > "$work/code"
grep -oE '`[a-z]+(\.[a-z_]+)+`|`(fermata|process)_[a-z0-9_]+`' $guide | tr -d '`' |
    grep -vE '\.(ini|service|sysusers|tmpfiles|conf)$' | sort -u > "$work/guide"
bad=0
for name in $(comm -23 "$work/code" "$work/guide"); do
    echo "lint: $name is not explained in $guide"
    bad=1
done
for name in $(comm -13 "$work/code" "$work/guide"); do
    echo "lint: $guide explains $name, which does not exist"
    bad=1
done
[ $bad -eq 0 ] && echo "lint: operations hold"
exit $bad
