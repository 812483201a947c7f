# SPDX-License-Identifier: Apache-2.0
"""What a page in a browser on the same host may try: names of its own that point at loopback (DNS
rebinding), and requests across origins that need no permission."""
import unittest

from harness import DaemonTest, http_request


class BrowserTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon({"receiver.otlp_http.cors_allowed_origins": "https://app.example"}).start()

    def tearDown(self):
        self.node.stop()

    def query(self, method, path, **headers):
        return http_request(self.node.ports["query"], method, path, headers=headers)

    def test_the_query_port_answers_to_its_own_names_only(self):
        port = self.node.ports["query"]
        for host in ("127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "LocalHost", f"[::1]:{port}"):
            self.assertEqual(self.query("GET", "/status", Host=host)[0], 200, host)
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil",
                     f"evil.example:{port}:1"):
            for path in ("/status", "/metrics", "/api/traces/1", "/none"):
                status, _, body = self.query("GET", path, Host=host)
                self.assertEqual((status, body), (403, b"host not allowed\n"), (host, path))

    def test_flush_is_not_for_pages(self):
        self.assertEqual(self.query("POST", "/flush", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.query("POST", "/flush", Origin="null")[0], 403)
        self.assertEqual(self.query("HEAD", "/flush")[0], 405)
        self.assertEqual(self.query("GET", "/flush")[0], 405)
        self.assertEqual(self.query("POST", "/flush")[0], 204)

    def test_spans_of_foreign_origins_are_refused(self):
        def post(**headers):
            return http_request(self.node.ports["http"], "POST", "/v1/traces", b"{}",
                                {"Content-Type": "application/json", **headers})
        self.assertEqual(post(Origin="https://app.example")[0], 200)
        self.assertEqual(post(Host="host.docker.internal:4318")[0], 200)  # collectors are named freely
        for origin in ("http://evil.example", "https://app.example.evil", "null"):
            status, headers, _ = post(Origin=origin)
            self.assertEqual(status, 403, origin)
            self.assertNotIn("access-control-allow-origin", headers)


if __name__ == "__main__":
    unittest.main()
