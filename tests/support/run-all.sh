#!/bin/sh
# Runs cmocka executables one after another, shows what failed, and closes with one count.
set -u
passed=0 failed=0
for test in "$@"; do
    log=$("$test" 2>&1)
    status=$?
    ok=$(printf '%s\n' "$log" | grep -c '^\[       OK \]')
    bad=$(printf '%s\n' "$log" | grep -xE '\[  FAILED  \] [A-Za-z0-9_]+' | sort -u | wc -l)
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    passed=$((passed + ok))
    if [ "$status" -ne 0 ]; then
        failed=$((failed + bad))
        printf '%s\n' "$log"
        echo "  FAIL $test (exit $status)"
    else
        echo "  ok   $test ($ok)"
    fi
done
echo "unit: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
