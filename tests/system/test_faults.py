# SPDX-License-Identifier: Apache-2.0
"""What a bucket and the way to it can do, row by row, each against a daemon of its own.

A row fails when what came of it is not what it must be; whatever the row, spans are taken while the
fault lasts and nothing is lost.  docs/faults.md is what this test saw; the test fails when the file
says something else.  Write it anew with: make faults
"""
import os
import subprocess
import unittest

import faults
from harness import TOP
from s3_case import S3Case
from s3_server import make_certificates

DOCUMENT = TOP / "docs" / "faults.md"
HEAD = """# Faults of the bucket

What fermata does about each thing that a bucket, or the way to it, can do. `tests/system/test_faults.py`
plays every row against a live daemon and a scripted server, reads off what came of it, and wrote this
file (`make faults`); do not edit it by hand.

In every row spans are sent while the fault lasts, and are taken. *Whole* means that in the end the
bucket holds every block byte for byte, that it saw nothing forbidden (meta.json before its data, an
object replaced by another, a deletion), and that no multipart upload is left open. *Kept here* means that
the block stays on the node's disk. *Counted as* is the outcome in `fermata_upload_requests_total`; a dash
means that no request of the uploader failed.

"""
SHIM = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(clock, now);
    if (clock == CLOCK_REALTIME && access(FLAG, F_OK) == 0)
        now->tv_sec %= 86400;
    return rc;
}
"""


def cell(text):
    return text.replace("|", "\\|")


def document(results):
    out, number = [HEAD], 0
    for title, rows in results:
        out.append(f"## {title}\n\n| # | Fault | Counted as | What followed | In the end |\n"
                   "|---|---|---|---|---|\n")
        for name, seen in rows:
            number += 1
            out.append(f"| {number} | {' | '.join(cell(text) for text in (name, *seen))} |\n")
        out.append("\n")
    out.append(f"{number} rows.\n")
    return "".join(out)


class FaultsTest(S3Case):
    def fake_clock(self):
        """A flag, and an environment with which it is 1970 for as long as the flag is there."""
        flag, source = self.directory / "unset", self.directory / "shim.c"
        flag.touch()
        source.write_text(SHIM)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", f'-DFLAG="{flag}"', "-o",
                        self.directory / "shim.so", source, "-ldl"], check=True)
        options = os.environ.get("ASAN_OPTIONS", "")
        return flag, {"LD_PRELOAD": str(self.directory / "shim.so"),
                      "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"}

    def tls_server(self):
        folder = self.directory / "tls"
        folder.mkdir(exist_ok=True)
        return self.server(tls=make_certificates(str(folder)))

    def test_every_row(self):
        only, results, number = os.environ.get("FAULT_ROWS", "").split(), [], 0
        for title, rows in faults.ROWS:
            results.append((title, []))
            for name, *expected, play in rows:
                number += 1
                if only and str(number) not in only and play.__name__ not in only:
                    continue
                with self.subTest(row=number, fault=name):
                    fault = faults.Fault(self, f"row{number}")
                    play(fault)
                    seen = fault.finish()
                    results[-1][1].append((name, seen))
                    if os.environ.get("FAULTS_SHOW"):
                        print(number, play.__name__, seen, flush=True)
                    else:
                        self.assertEqual(seen, tuple(expected))
        if only or os.environ.get("FAULTS_SHOW") or sum(len(rows) for _, rows in results) < number:
            return  # a part of it, or a row failed and has said so
        text = document(results)
        if os.environ.get("FAULTS_WRITE"):
            DOCUMENT.write_text(text)
        self.assertEqual(DOCUMENT.read_text(), text, "docs/faults.md is stale: make faults")


if __name__ == "__main__":
    unittest.main()
