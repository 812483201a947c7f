# SPDX-License-Identifier: Apache-2.0
"""Runs test_*.py of this folder (or of --folder), or those named, one file after another; closes
with one count.

Each file runs under a time limit; a file that hangs is a failure, not a wait.
"""
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_SECONDS = 600


def main():
    arguments, folder = sys.argv[1:], HERE
    if arguments[:1] == ["--folder"]:
        folder, arguments = pathlib.Path(arguments[1]).resolve(), arguments[2:]
    names = arguments or sorted(p.stem for p in folder.glob("test_*.py"))
    paths = [str(folder), str(HERE)]
    passed = failed = skipped = 0
    for name in names:
        begin = time.monotonic()
        code = (f"import sys, unittest; sys.path[:0] = {paths!r}; import {name} as m\n"
                "r = unittest.TextTestRunner(verbosity=2).run("
                "unittest.defaultTestLoader.loadTestsFromModule(m))\n"
                "bad = len(r.failures) + len(r.errors) + len(r.unexpectedSuccesses)\n"
                "print('COUNT', r.testsRun - bad - len(r.skipped), bad, len(r.skipped))\n")
        try:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                  timeout=LIMIT_SECONDS)
            output, counts = done.stdout + done.stderr, None
            for line in done.stdout.splitlines():
                if line.startswith("COUNT "):
                    counts = [int(n) for n in line.split()[1:]]
        except subprocess.TimeoutExpired as late:
            output, counts = f"{late.stdout}{late.stderr}\ntimed out", None
        good, bad, skips = counts or (0, 1, 0)
        passed, failed, skipped = passed + good, failed + bad, skipped + skips
        print(f"  {'ok  ' if bad == 0 else 'FAIL'} {name} ({good} passed, {bad} failed"
              f"{f', {skips} skipped' if skips else ''}, {time.monotonic() - begin:.1f} s)", flush=True)
        if bad or skips:
            print(output, flush=True)
    print(f"{folder.name}: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
