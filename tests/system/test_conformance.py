# SPDX-License-Identifier: Apache-2.0
"""The protocol checklist, row by row against a live daemon.

Every row sends something and says what came of it; a row fails when that is not what it must be.
docs/conformance.md is what this test saw; the test fails when the file says something else.  Write
it anew with: make conformance
"""
import os
import unittest

import conformance
import conformance_jaeger
import conformance_otlp
import conformance_zipkin
from harness import TOP, DaemonTest

DOCUMENT = TOP / "docs" / "conformance.md"
SECTIONS = [
    ("OTLP over gRPC", "G", 50, conformance_otlp.GRPC),
    ("OTLP over HTTP", "H", 41, conformance_otlp.HTTP),
    ("Jaeger", "J", 40, conformance_jaeger.JAEGER),
    ("Zipkin", "Z", 37, conformance_zipkin.ZIPKIN),
    ("Across the protocols", "X", 6, conformance_zipkin.INVARIANTS),
]
HEAD = """# Conformance

What each receiver does with what clients send, row by row. `tests/system/test_conformance.py` sends
every row to a live daemon, compares what came of it, and wrote this file (`make conformance`); do
not edit it by hand. Rows with *interop* or *test* in the outcome are shown by the test named there.

"""


def document(results):
    out = [HEAD]
    for title, letter, count, _ in SECTIONS:
        out.append(f"## {title}\n\n| # | Sent | Outcome |\n|---|---|---|\n")
        for name, sent, seen in results:
            if name[0] == letter:
                text = seen.replace("|", "\\|")
                out.append(f"| {name} | {sent.replace('|', chr(92) + '|')} | {text} |\n")
        out.append("\n")
    out.append(f"{len(results)} rows.\n")
    return "".join(out)


class ConformanceTest(DaemonTest):
    def start(self):
        doors, settings = conformance.settings()
        settings.update(conformance_jaeger.settings(self.directory))
        node = conformance.Node(self.daemon(settings).start(), doors)
        tight_doors, tight = conformance.settings()
        tight.update({"limits.memory_limit": "1MiB", "limits.max_body_bytes": "1MiB",
                      "limits.max_decompressed_bytes": "1MiB", "limits.idle_timeout": "60s"})
        node.tight = self.daemon(tight, "tight").start()
        node.tight_doors = tight_doors
        return node

    def test_every_row(self):
        node, results = self.start(), []
        only = os.environ.get("CONFORMANCE_ROWS", "").split()
        for title, letter, count, rows in SECTIONS:
            self.assertEqual([row[0] for row in rows], [f"{letter}{i + 1}" for i in range(count)], title)
            for name, sent, expected, function in rows:
                if only and name not in only:
                    continue
                with self.subTest(row=name, sent=sent):
                    seen = function(node)
                    results.append((name, sent, seen))
                    self.assertEqual(seen, expected)
        node.daemon.stop()
        node.tight.stop()
        if only:
            return
        text = document(results)
        if os.environ.get("CONFORMANCE_WRITE"):
            DOCUMENT.write_text(text)
        self.assertEqual(DOCUMENT.read_text(), text, "docs/conformance.md is stale: make conformance")


if __name__ == "__main__":
    unittest.main()
