# SPDX-License-Identifier: Apache-2.0
"""A page of another origin sends OTLP/JSON from a real browser: preflight, request, answer."""
import functools
import http.server
import json
import re
import subprocess
import threading
import unittest

from harness import DaemonTest, free_port, request, span

TRACE = "b0" * 16
PAGE = """<!doctype html><title>sender</title><pre id=said>nothing</pre><script>
fetch("http://127.0.0.1:%d/v1/traces", {method: "POST", headers: {"Content-Type": "application/json"},
                                         body: JSON.stringify(%s)})
  .then(async (answer) => { said.textContent = "answered " + answer.status + " " + await answer.text() })
  .catch((error) => { said.textContent = "failed " + error })
</script>"""


class BrowserSendsTest(DaemonTest):
    def page(self, node):
        """Serves the page on a port of its own, which is what makes it another origin."""
        folder = self.directory / "page"
        folder.mkdir(exist_ok=True)
        (folder / "index.html").write_text(PAGE % (node.ports["http"], json.dumps(request(
            [span(TRACE, "00000000000000b0", name="click")], service="page"))))
        quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.origin_port),
                                                 functools.partial(quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def browse(self):
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={self.directory}/profile", "--virtual-time-budget=10000", "--dump-dom",
             f"http://127.0.0.1:{self.origin_port}/"], capture_output=True, text=True, timeout=120)
        found = re.search(r"<pre id=\"said\">(.*?)</pre>", done.stdout, re.S)
        self.assertTrue(found, done.stdout + done.stderr)
        return found[1]

    def start(self, origins):
        node = self.daemon({"receiver.otlp_http.cors_allowed_origins": origins}, f"node-{len(origins)}").start()
        self.page(node)
        return node

    def test_an_allowed_origin_gets_in(self):
        self.origin_port = free_port()
        node = self.start(f"http://127.0.0.1:{self.origin_port}")
        self.assertEqual(self.browse(), "answered 200 {}")
        self.assertEqual(node.span_ids(TRACE), ["00000000000000b0"])
        node.stop()

    def test_another_origin_does_not(self):
        self.origin_port = free_port()
        node = self.start("https://app.example")
        self.assertTrue(self.browse().startswith("failed"))
        self.assertEqual(node.span_ids(TRACE), [])
        node.stop()


if __name__ == "__main__":
    unittest.main()
