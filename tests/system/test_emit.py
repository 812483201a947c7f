# SPDX-License-Identifier: Apache-2.0
"""fermata emit against a real daemon: every protocol, TLS, and the headers it sends."""
import collections
import http.server
import json
import pathlib
import threading
import unittest

from harness import DaemonTest, run_tool, wait_for

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "golden" / "tls"
PORTS = {
    "otlp_grpc": "grpc", "otlp_http": "http", "otlp_http_json": "http", "jaeger_compact": "compact",
    "jaeger_binary": "binary", "jaeger_http": "jaeger_http", "jaeger_grpc": "jaeger_grpc", "zipkin_json": "zipkin",
    "zipkin_proto": "zipkin", "zipkin_v1_json": "zipkin", "zipkin_thrift": "zipkin",
}


class EmitTest(DaemonTest):
    def emit(self, node, protocol, *arguments, check=0, seed=1):
        ledger = self.directory / f"ledger-{protocol}-{seed}"
        # A datagram that nobody takes comes back too late to try localhost's other address.
        host = "127.0.0.1" if protocol in ("jaeger_compact", "jaeger_binary") else "localhost"
        report = run_tool("emit", "--protocol", protocol, "--endpoint", f"{host}:{node.ports[PORTS[protocol]]}",
                          "--total", 600, "--batch", 200, "--seed", seed, "--ledger", ledger, "--json", *arguments,
                          check=check)
        return json.loads(report.stdout), ledger

    def assert_stored(self, node, ledger, tenant=None):
        """The largest trace of the ledger is answered as a whole."""
        spans = collections.defaultdict(list)
        for line in ledger.read_text().splitlines():
            spans[line.split()[0]].append(line.split()[1])
        trace = max(spans, key=lambda key: len(spans[key]))

        def found():
            try:
                return node.span_ids(trace, tenant) == sorted(spans[trace])
            except AssertionError:
                return False
        wait_for(found, 10, f"trace {trace} of {ledger.name}")

    def test_every_protocol(self):
        node = self.daemon().start()
        for seed, protocol in enumerate(PORTS, 1):
            with self.subTest(protocol):
                report, ledger = self.emit(node, protocol, seed=seed)
                self.assertEqual(report["sent_spans" if PORTS[protocol] in ("compact", "binary") else "acked_spans"],
                                 600)
                self.assert_stored(node, ledger)

    def test_small_datagrams(self):
        node = self.daemon().start()
        report, ledger = self.emit(node, "jaeger_compact", "--packet", 1000)
        self.assertGreater(report["datagrams"], 200)
        self.assert_stored(node, ledger)

    def test_nobody_listens(self):
        result = run_tool("emit", "--protocol", "jaeger_compact", "--endpoint", "127.0.0.1:1", "--total", 500)
        self.assertEqual(result.returncode, 1)
        self.assertIn("nobody listens there", result.stdout)

    def test_tls(self):
        settings = {}
        for section in ("receiver.otlp_http", "receiver.otlp_grpc"):
            settings.update({f"{section}.tls_cert_file": str(FIXTURES / "server.pem"),
                             f"{section}.tls_key_file": str(FIXTURES / "server.key"),
                             f"{section}.tls_client_ca_file": str(FIXTURES / "ca.pem")})
        node = self.daemon(settings).start()
        trust = ("--tls-ca", FIXTURES / "ca.pem")
        us = ("--tls-cert", FIXTURES / "client.pem", "--tls-key", FIXTURES / "client.key")
        for seed, protocol in enumerate(("otlp_http", "otlp_grpc", "otlp_http_json"), 1):
            _, ledger = self.emit(node, protocol, *trust, *us, "--connections", 2, seed=seed)
            self.assert_stored(node, ledger)
        for arguments in ((*trust, "--give-up", "1s"), ("--tls", *us), ("--give-up", "1s")):
            result = run_tool("emit", "--endpoint", f"localhost:{node.ports['http']}", "--total", 100, *arguments)
            self.assertNotEqual(result.returncode, 0, arguments)

    def test_headers(self):
        node = self.daemon().start()
        _, ledger = self.emit(node, "zipkin_json", "--header", "X-Scope-OrgID: shop")
        self.assert_stored(node, ledger, tenant="shop")
        (self.directory / "token").write_text("s3cret \nsecond line\n")
        (self.directory / "user").write_text("ann:pass word\n")
        seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                seen.append(dict(self.headers))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/prefix/traces"
        for arguments in (("--token-file", self.directory / "token", "--header", "X-Test:1"),
                          ("--user-file", self.directory / "user", "--tenant", "a")):
            run_tool("emit", "--protocol", "jaeger_http", "--endpoint", url, "--total", 10, "--batch", 10, *arguments,
                     check=0)
        first, second = ({key.lower(): value for key, value in headers.items()} for headers in seen)
        self.assertEqual((first["authorization"], first["x-test"]), ("Bearer s3cret", "1"))
        self.assertEqual((second["authorization"], second["x-scope-orgid"]), ("Basic YW5uOnBhc3Mgd29yZA==", "a"))
        self.assertEqual(first["content-type"], "application/x-thrift")
        for wrong in (("--header", "no colon"), ("--tls-cert", "x"), ("--packet", "5")):
            self.assertEqual(run_tool("emit", *wrong).returncode, 2, wrong)


if __name__ == "__main__":
    unittest.main()
