# SPDX-License-Identifier: Apache-2.0
"""h2spec against both kinds of port: it must object to nothing but what KNOWN lists."""
import os
import pathlib
import re
import subprocess
import unittest
import xml.etree.ElementTree

from harness import DaemonTest

H2SPEC = pathlib.Path(os.environ.get("INTEROP", "build/interop")) / "bin" / "h2spec"

KNOWN = {
    # The port speaks HTTP/1.1 as well: what is no HTTP/2 preface is answered with a 400 and closed.
    ("http2/3.5", "Sends invalid connection preface"),
    # nghttp2 takes a stream below the highest one for a stream that was closed, and ignores it.
    ("http2/5.1.1", "Sends stream identifier that is numerically smaller than previous"),
}


class H2specTest(DaemonTest):
    def check(self, listener):
        node = self.daemon().start()
        report = self.directory / "report.xml"
        done = subprocess.run(
            [str(H2SPEC), "-h", "127.0.0.1", "-p", str(node.ports[listener]), "-o", "3",
             "-j", str(report), "generic", "http2", "hpack"],
            capture_output=True, text=True, timeout=120)
        self.assertTrue(report.exists(), done.stdout[-2000:] + done.stderr)
        # What it received stands there as it came, also bytes that are no XML.
        text = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]", "?", report.read_text(errors="replace"))
        cases = list(xml.etree.ElementTree.fromstring(text).iter("testcase"))
        self.assertGreater(len(cases), 140)
        bad = {(case.get("package"), case.get("classname")) for case in cases
               if case.find("failure") is not None or case.find("error") is not None}
        self.assertEqual(bad, KNOWN, done.stdout.partition("Failures:")[2])
        node.stop()

    def test_otlp_http_port(self):
        self.check("http")

    def test_otlp_grpc_port(self):
        self.check("grpc")

    def test_query_port(self):
        self.check("query")


if __name__ == "__main__":
    unittest.main()
