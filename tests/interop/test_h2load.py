# SPDX-License-Identifier: Apache-2.0
"""nghttp2's load generator as a gRPC and an HTTP/2 client: many streams, nothing lost."""
import subprocess
import unittest

from harness import DaemonTest
from test_otlp_grpc import A1, EXPORT, framed


class H2LoadTest(DaemonTest):
    def load(self, node, door, path, body, *headers):
        data = self.directory / "body.bin"
        data.write_bytes(body)
        done = subprocess.run(["h2load", "-n", "3000", "-c", "4", "-m", "25", "-d", str(data),
                               *(word for header in headers for word in ("-H", header)),
                               f"http://127.0.0.1:{node.ports[door]}{path}"], capture_output=True, text=True,
                              timeout=120)
        self.assertIn("3000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout, done.stdout + done.stderr)

    def test_every_request_is_answered(self):
        node = self.daemon().start()
        self.load(node, "grpc", EXPORT, framed(A1), "content-type: application/grpc", "te: trailers")
        self.assertEqual(node.metric("fermata_receiver_accepted_spans_total", "otlp_grpc"), 3000)
        self.load(node, "http", "/v1/traces", A1, "content-type: application/x-protobuf")
        self.assertEqual(node.metric("fermata_receiver_accepted_spans_total", "otlp_http"), 3000)
        node.stop()


if __name__ == "__main__":
    unittest.main()
