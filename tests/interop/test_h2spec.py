# SPDX-License-Identifier: Apache-2.0
"""h2spec against both kinds of port."""
import os
import pathlib
import re
import subprocess
import unittest

from harness import DaemonTest


class H2specTest(DaemonTest):
    def test_h2spec(self):
        node = self.daemon().start()
        tool = pathlib.Path(os.environ["INTEROP"]) / "bin" / "h2spec"
        done = subprocess.run([str(tool), "-h", "127.0.0.1", "-p", str(node.ports["http"]), "-o", "3",
                               "generic", "http2", "hpack"], capture_output=True, text=True, timeout=300)
        summary = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
        self.assertIsNotNone(summary, done.stdout[-2000:] + done.stderr)
        print("h2spec:", summary.group(0), flush=True)
        self.assertEqual(summary.group(4), "0", done.stdout[-6000:])
        node.stop()


if __name__ == "__main__":
    unittest.main()
