# SPDX-License-Identifier: Apache-2.0
"""Zipkin's own user interface, Lens, in a browser over fermata's query API: its files are served here,
its questions go to the daemon.  Screenshots: build/interop/ui_lens_*.png."""
import json
import time
import unittest
import zipfile

from harness import DaemonTest, http_request
from pages import WORK, Pages

JARS = sorted(WORK.glob("lens/zipkin-lens-*.jar"))
NOW = time.time_ns() // 1000
TRACE = "e1" * 16


def lens_file(path):
    name = "zipkin-lens/" + path.removeprefix("/zipkin/")
    with zipfile.ZipFile(JARS[-1]) as files:
        if name not in files.namelist() or name.endswith("/"):
            name = "zipkin-lens/index.html"  # routes of the page
        return name, files.read(name)


@unittest.skipUnless(JARS, "Lens was not fetched (needs Maven)")
class LensTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()
        spans = [
            {"traceId": TRACE, "id": "e000000000000001", "kind": "SERVER", "name": "get /checkout",
             "timestamp": NOW - 5_000_000, "duration": 250000, "localEndpoint": {"serviceName": "storefront"},
             "tags": {"http.path": "/checkout"}, "annotations": [{"timestamp": NOW - 4_990_000, "value": "cart.loaded"}]},
            {"traceId": TRACE, "parentId": "e000000000000001", "id": "e000000000000002", "kind": "CLIENT",
             "name": "charge", "timestamp": NOW - 4_980_000, "duration": 180000,
             "localEndpoint": {"serviceName": "storefront"}},
            {"traceId": TRACE, "parentId": "e000000000000001", "id": "e000000000000002", "kind": "SERVER",
             "name": "charge", "timestamp": NOW - 4_970_000, "duration": 150000, "shared": True,
             "localEndpoint": {"serviceName": "billing"}, "tags": {"error": "card declined"}}]
        status, _, body = http_request(self.node.ports["zipkin"], "POST", "/api/v2/spans", json.dumps(spans).encode(),
                                       {"Content-Type": "application/json"})
        self.assertEqual(status, 202, body)
        self.pages = Pages(self, self.node.ports["zipkin"], lens_file,
                           lambda path: path.startswith("/zipkin/api/") or path == "/zipkin/config.json")

    def tearDown(self):
        self.node.stop()

    def browse(self, path, name):
        return self.pages.browse(f"/zipkin/{path}", f"ui_lens_{name}")

    def test_a_trace(self):
        page = self.browse(f"traces/{TRACE}", "trace")
        for text in ("storefront", "billing", "get /checkout", "charge"):
            self.assertIn(text, page.lower())

    def test_search(self):
        page = self.browse("?serviceName=billing&lookback=15m&endTs=%d&limit=10" % (NOW // 1000 + 1000), "search")
        self.assertTrue([path for path, _, _ in self.pages.asked if path.startswith("/zipkin/api/v2/traces?")], self.pages.asked)
        self.assertIn("get /checkout", page.lower())

    def test_dependencies(self):
        page = self.browse("dependency?startTime=%d&endTime=%d" % (NOW // 1000 - 3_600_000, NOW // 1000 + 1000),
                           "dependencies")
        answers = [json.loads(body) for path, _, body in self.pages.asked if "/dependencies?" in path]
        self.assertTrue(answers, page)
        self.assertEqual(answers[0], [{"parent": "storefront", "child": "billing", "callCount": 1, "errorCount": 1}])


if __name__ == "__main__":
    unittest.main()
