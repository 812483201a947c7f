#!/bin/sh
# Enforces tests/lint/layers.txt: who may include whom, and where third-party headers live.
set -u
cd "$(dirname "$0")/../.." || exit 2
table=tests/lint/layers.txt
bad=0
complain() {
    echo "lint: $1"
    bad=1
}

# headers <module>...: the public headers of these modules
headers() {
    for module in "$@"; do
        awk -F' *: *' -v m="$module" '!/^#/ { n = split($1, p, "/"); if (p[n] == m) print $2 }' $table
    done
}

# A module's name is its folder's: the Makefile knows no other.
for name in $(awk -F' *: *' '!/^#/ && NF { n = split($1, p, "/"); print p[n] }' $table | sort | uniq -d); do
    complain "two folders are named $name"
done

while IFS=: read -r folder own needs; do
    case $folder in '#'* | '') continue ;; esac
    folder=$(echo $folder)
    allowed=" $(echo $own $(headers $needs) | tr '\n' ' ') "
    files=$(ls $folder/*.c $folder/*.h 2>/dev/null)
    for header in $own; do files="$files include/fermata/$header.h"; done
    for file in $files; do
        [ -e "$file" ] || continue
        for included in $(sed -n 's/^#include [<"]fermata\/\([a-z0-9_]*\)\.h[>"].*/\1/p' "$file"); do
            case $allowed in *" $included "*) ;; *) complain "$file may not include fermata/$included.h" ;; esac
        done
        grep -n '#include "\.\./' "$file" && complain "$file climbs out of its folder"
    done
done < $table

# home <pattern> <folders...>: the header matches only in these places
home() {
    pattern=$1
    shift
    for file in $(grep -lE "#include <$pattern" -r src include platform 2>/dev/null); do
        ok=no
        for place in "$@"; do case $file in "$place"*) ok=yes ;; esac; done
        [ $ok = yes ] || complain "$file may not include <$pattern>"
    done
}
home 'uv\.h' platform/uv src/daemon/net
home 'nghttp2/' src/lib/http
home 'mbedtls/' src/daemon/net/tls src/lib/s3/digest.c src/lib/cloud/signer.c
home 'crypt\.h' src/daemon/net/password.c
home 'zlib\.h' src/lib/codec
home 'zstd\.h' src/lib/codec
home 'lz4' src/lib/codec
home 'ini\.h' src/daemon/config
home 'protobuf-c/' src/lib/decode
home 'sys/socket\.h' platform src/daemon/net
home 'time\.h' platform
home 'sys/time\.h' platform
home 'pthread\.h' platform src/daemon/telemetry include/fermata/lock.h
home 'errno\.h' platform src/daemon/net src/daemon/telemetry
for file in $(grep -rlE '\b(log_(error|warn|info|debug))\(' src/lib 2>/dev/null); do
    complain "$file logs; src/lib returns errors instead"
done
[ $bad -eq 0 ] && echo "lint: layers hold"
exit $bad
