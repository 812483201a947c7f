# SPDX-License-Identifier: Apache-2.0
"""Zipkin's own user interface, Lens, in a browser over fermata's query API: its files are served here,
its questions go to the daemon.  Screenshots: build/interop/ui_lens_*.png."""
import functools
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import threading
import time
import unittest
import zipfile

from harness import DaemonTest, free_port, http_request

WORK = pathlib.Path(os.environ["INTEROP"])
JARS = sorted(WORK.glob("lens/zipkin-lens-*.jar"))
NOW = time.time_ns() // 1000
TRACE = "e1" * 16
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json",
         ".png": "image/png", ".ico": "image/x-icon"}


class Proxy(http.server.BaseHTTPRequestHandler):
    """/zipkin/api and /zipkin/config.json to the daemon, everything else out of Lens' jar."""

    def __init__(self, jar, port, asked, *arguments):
        self.jar, self.port, self.asked = jar, port, asked
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def answer(self, status, content_type, body):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/zipkin/api/") or path == "/zipkin/config.json":
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request("GET", self.path)
            response = connection.getresponse()
            body = response.read()
            self.asked.append((self.path, response.status, body))
            self.answer(response.status, response.getheader("Content-Type"), body)
            return
        name = "zipkin-lens/" + path.removeprefix("/zipkin/")
        with zipfile.ZipFile(self.jar) as files:
            if name not in files.namelist() or name.endswith("/"):
                name = "zipkin-lens/index.html"  # routes of the page
            self.answer(200, TYPES.get(pathlib.Path(name).suffix, "application/octet-stream"), files.read(name))


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
        self.asked = []
        self.port = free_port()
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", self.port), functools.partial(Proxy, JARS[-1], self.node.ports["zipkin"], self.asked))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def tearDown(self):
        self.node.stop()

    def browse(self, path, name):
        common = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US",
                  "--window-size=1400,900", f"--user-data-dir={self.directory}/profile",
                  "--virtual-time-budget=15000"]
        url = f"http://127.0.0.1:{self.port}/zipkin/{path}"
        shot = subprocess.run([*common, f"--screenshot={WORK}/ui_lens_{name}.png", url], capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(shot.returncode, 0, shot.stderr)
        done = subprocess.run([*common, "--dump-dom", url], capture_output=True, text=True, timeout=120)
        failed = [(path, status, body[:200]) for path, status, body in self.asked if status != 200]
        self.assertEqual(failed, [])
        return done.stdout

    def test_a_trace(self):
        page = self.browse(f"traces/{TRACE}", "trace")
        for text in ("storefront", "billing", "get /checkout", "charge"):
            self.assertIn(text, page.lower())

    def test_search(self):
        page = self.browse("?serviceName=billing&lookback=15m&endTs=%d&limit=10" % (NOW // 1000 + 1000), "search")
        self.assertTrue([path for path, _, _ in self.asked if path.startswith("/zipkin/api/v2/traces?")], self.asked)
        self.assertIn("get /checkout", page.lower())

    def test_dependencies(self):
        page = self.browse("dependency?startTime=%d&endTime=%d" % (NOW // 1000 - 3_600_000, NOW // 1000 + 1000),
                           "dependencies")
        answers = [json.loads(body) for path, _, body in self.asked if "/dependencies?" in path]
        self.assertTrue(answers, page)
        self.assertEqual(answers[0], [{"parent": "storefront", "child": "billing", "callCount": 1, "errorCount": 1}])


if __name__ == "__main__":
    unittest.main()
