# SPDX-License-Identifier: Apache-2.0
"""Runs test_*.py of this folder (or of --folder), or those named, some files at a time; closes with
one count.

Most of a test is waiting, so two files more than processors run at a time (or JOBS); one that says
ALONE has the machine for itself.  Each file runs under a time limit; a file that hangs is a failure,
not a wait.
"""
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_SECONDS = 600


def run_bounded(command):
    """Returns what the command printed and the three numbers of its COUNT line, None without."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            child.wait(LIMIT_SECONDS)
            late = ""
        except subprocess.TimeoutExpired:
            late = f"\ntimed out after {LIMIT_SECONDS} s"
            os.killpg(child.pid, signal.SIGKILL)  # with the daemons that it started
            child.wait()
        log.seek(0)
        output = log.read().decode(errors="replace") + late
    found = None if late else re.search(r"^COUNT (\d+) (\d+) (\d+)$", output, re.M)
    return output, [int(number) for number in found.groups()] if found else None


def run_file(name, paths):
    begin = time.monotonic()
    code = (f"import sys, unittest; sys.path[:0] = {paths!r}; import {name} as m\n"
            "r = unittest.TextTestRunner(verbosity=2).run("
            "unittest.defaultTestLoader.loadTestsFromModule(m))\n"
            "bad = len(r.failures) + len(r.errors) + len(r.unexpectedSuccesses)\n"
            "good = max(0, r.testsRun - bad - len(r.skipped))\n"
            "print('COUNT', good, bad, len(r.skipped))\n")
    output, counts = run_bounded([sys.executable, "-c", code])
    return name, output, counts or [0, 1, 0], time.monotonic() - begin


def show(name, output, counts, seconds):
    good, bad, skips = counts
    print(f"  {'ok  ' if bad == 0 else 'FAIL'} {name} ({good} passed, {bad} failed"
          f"{f', {skips} skipped' if skips else ''}, {seconds:.1f} s)", flush=True)
    if bad:
        print(output, flush=True)
    for line in output.splitlines() if skips and not bad else ():
        found = re.match(r"(\S+) \(.*\.\.\. skipped (.*)", line)
        if found:
            print(f"       {found[1]}: skipped, {found[2].strip(chr(39))}", flush=True)


def main():
    arguments, folder = sys.argv[1:], HERE
    if arguments[:1] == ["--folder"]:
        folder, arguments = pathlib.Path(arguments[1]).resolve(), arguments[2:]
    names = arguments or sorted(p.stem for p in folder.glob("test_*.py"))
    paths = [str(folder), str(HERE)]
    alone = [n for n in names if "\nALONE = True" in (folder / f"{n}.py").read_text(encoding="utf-8")]
    totals = [0, 0, 0]

    def take(result):
        show(*result)
        totals[:] = [a + b for a, b in zip(totals, result[2])]

    jobs = int(os.environ.get("JOBS", 0)) or (os.cpu_count() or 1) + 2
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        beside = [pool.submit(run_file, name, paths) for name in names if name not in alone]
        for future in concurrent.futures.as_completed(beside):
            take(future.result())
    for name in alone:
        take(run_file(name, paths))
    passed, failed, skipped = totals
    print(f"{folder.name}: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
