#!/usr/bin/env bash
# make interop: what needs npm, PyPI or Go.  Everything is installed below build/interop, by package
# name and pinned version; nothing of it is part of the project.
#
# usage: run.sh BUILD [test_NAME...]
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/interop
build=$(realpath "${1:-build}")
shift || :
work=$PWD/build/interop
versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
fake_gcs=github.com/fsouza/fake-gcs-server@v1.56.1
h2spec=github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
mkdir -p "$work"

need() {
    command -v "$1" >/dev/null || { echo "interop: needs $1 ($2)"; exit 1; }
}
need node "Node.js 18 or later"
need npm "Node.js 18 or later"
need go "Go 1.22 or later"
python3 -c 'import ensurepip' 2>/dev/null || { echo "interop: needs python3-venv"; exit 1; }

# The copy of the list is written last: what was interrupted is installed again.
if ! cmp -s $here/package.json "$work/installed.json"; then
    echo "  NPM  $here/package.json"
    cp $here/package.json "$work/package.json"
    (cd "$work" && npm install --no-audit --no-fund --no-package-lock --loglevel=error >npm.log 2>&1) ||
        { cat "$work/npm.log"; exit 1; }
    cp $here/package.json "$work/installed.json"
fi
if ! cmp -s $here/requirements.txt "$work/installed.txt"; then
    echo "  PIP  $here/requirements.txt"
    python3 -m venv --clear "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r $here/requirements.txt
    cp $here/requirements.txt "$work/installed.txt"
fi
# Zipkin's user interface is on Maven Central only; where Maven does not get it, its check is skipped.
lens=io.zipkin:zipkin-lens:2.27.1
if command -v mvn >/dev/null && [ "$(cat "$work/installed-lens" 2>/dev/null)" != $lens ]; then
    echo "  MVN  $lens"
    rm -rf "$work/lens"
    if mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:2.8:copy -Dartifact=$lens \
        -DoutputDirectory="$work/lens" >"$work/mvn.log" 2>&1; then
        echo $lens >"$work/installed-lens"
    else
        tail -n 3 "$work/mvn.log"
    fi
fi
# Jaeger's user interface, 1.68, as another program embeds it: packed files in a Go module.
jaeger_ui=github.com/tonistiigi/jaeger-ui-rest@v0.0.0-20250408171107-3dd17559e117
if [ "$(cat "$work/installed-jaeger-ui" 2>/dev/null)" != $jaeger_ui ]; then
    echo "  GO   $jaeger_ui"
    found=$(GOFLAGS=-modcacherw go mod download -json $jaeger_ui | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    rm -rf "$work/jaeger-ui"
    for file in index.html $(cd "$found/public" && ls static/*); do
        mkdir -p "$work/jaeger-ui/$(dirname "$file")"
        gunzip -c <"$found/public/$file" >"$work/jaeger-ui/$file"
    done
    echo $jaeger_ui >"$work/installed-jaeger-ui"
fi
# Go keeps its caches where it always does; only the three programs land here.
for module in "$versitygw" "$fake_gcs" "$h2spec"; do
    stamp=$work/installed-$(basename "${module%@*}")
    [ "$(cat "$stamp" 2>/dev/null)" = "$module" ] && continue
    echo "  GO   $module"
    GOBIN="$work/bin" GOFLAGS=-modcacherw go install "$module" >"$work/go.log" 2>&1 ||
        { cat "$work/go.log"; exit 1; }
    echo "$module" >"$stamp"
done

for program in otel_go collector; do
    (cd $here/$program && GOFLAGS=-modcacherw go build -o "$work/bin/$program" .) >"$work/go.log" 2>&1 ||
        { cat "$work/go.log"; exit 1; }
done

export INTEROP=$work NODE_PATH=$work/node_modules FERMATA=$build/fermata
export PARQUET_SAMPLE=$build/tests/interop/parquet_sample
JOBS=${JOBS:-2} exec "$work/venv/bin/python" tests/system/run.py --folder $here "$@"
