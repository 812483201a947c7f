#!/bin/sh
# make bench: the figures of the README, measured on this machine.  BENCH_SPANS=N for a shorter run;
# run.sh BUILD node|queries|mixed|sampling|forward|protocols|fairness for a part of it.  TEMPO=FILE:
# questions are asked to that Tempo (3.x), too.
set -eu
cd "$(dirname "$0")/../.."
FERMATA=$(realpath "${1:-build}/fermata")
export FERMATA
[ $# -eq 0 ] || shift
exec "${PYTHON:-/usr/bin/python3}" tests/bench/bench.py "$@"
