#!/bin/sh
# Functions of at most 70 lines, files of at most 1,000, public headers of at most 200,
# lines of at most 100 columns.  tests/lint/sizes.allow names the exceptions; it may only shrink.
set -u
cd "$(dirname "$0")/../.." || exit 2
allow=tests/lint/sizes.allow
found=$(mktemp)
trap 'rm -f "$found"' EXIT
for file in $(find src platform include tests -name '*.[ch]' | sort); do
    awk -v file="$file" '
        length($0) > 100 { print file " line " FNR " has " length($0) " columns" }
        /^{/ { start = FNR }
        /^}/ && start { if (FNR - start - 1 > 70) print file " function at " start " has " FNR - start - 1 " lines"; start = 0 }
        END {
            if (FNR > 1000) print file " has " FNR " lines"
            if (file ~ /^include/ && FNR > 200) print file " has " FNR " lines; a public header has 200"
        }' "$file"
done > "$found"
bad=$(if [ -s $allow ]; then grep -vFf $allow "$found"; else cat "$found"; fi)
if [ -n "$bad" ]; then
    echo "$bad" | sed 's/^/lint: /'
    exit 1
fi
echo "lint: sizes hold"
