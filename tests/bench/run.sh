#!/bin/sh
# make bench: the figures of the README, measured on this machine.  BENCH_SPANS=N for a shorter run.
set -eu
cd "$(dirname "$0")/../.."
FERMATA=$(realpath "${1:-build}/fermata")
export FERMATA
exec "${PYTHON:-/usr/bin/python3}" tests/bench/bench.py
