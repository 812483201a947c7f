#!/usr/bin/env bash
# make interop: what needs npm, PyPI or Go.  Everything is installed below build/interop, by package
# name and pinned version; nothing of it is part of the project.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/interop
work=$PWD/build/interop
mkdir -p "$work"

need() {
    command -v "$1" >/dev/null || { echo "interop: needs $1 ($2)"; exit 1; }
}
need node "Node.js 18 or later"
need npm "Node.js"
need go "Go 1.22 or later"

if ! cmp -s $here/package.json "$work/package.json"; then
    cp $here/package.json "$work/package.json"
    (cd "$work" && npm install --no-audit --no-fund --loglevel=error)
fi
if ! cmp -s $here/requirements.txt "$work/requirements.txt"; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r $here/requirements.txt
    cp $here/requirements.txt "$work/requirements.txt"
fi
if [ ! -x "$work/bin/versitygw" ]; then
    GOBIN="$work/bin" GOFLAGS=-modcacherw go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
fi
if [ ! -x "$work/bin/h2spec" ]; then
    GOBIN="$work/bin" GOFLAGS=-modcacherw go install github.com/summerwind/h2spec/cmd/h2spec@latest
fi

export INTEROP=$work NODE_PATH=$work/node_modules FERMATA=${FERMATA:-$PWD/build/fermata}
exec "$work/venv/bin/python" tests/system/run.py --folder $here "$@"
