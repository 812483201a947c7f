# SPDX-License-Identifier: Apache-2.0
"""Programs instrumented before OTLP: Jaeger's and Zipkin's own clients and OpenTelemetry's exporters for
them, each found by trace id with what it set."""
import json
import pathlib
import subprocess
import unittest

from conformance import attributes, kind_of, status_of
from harness import DaemonTest, free_port, wait_for

HERE = pathlib.Path(__file__).resolve().parent


class LegacyClientsTest(DaemonTest):
    def setUp(self):
        super().setUp()
        names = ("jaeger_thrift_compact", "jaeger_thrift_binary", "jaeger_thrift_http", "jaeger_grpc",
                 "jaeger_sampling", "zipkin")
        self.doors = {name: free_port() for name in names}
        self.node = self.daemon({f"receiver.{name}.endpoint": f"127.0.0.1:{port}"
                                 for name, port in self.doors.items()}).start()

    def tearDown(self):
        self.node.stop()

    def send(self, kind, door):
        done = subprocess.run(["node", str(HERE / "legacy_clients.js"), kind, "127.0.0.1", str(self.doors[door])],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])["traceId"]

    def spans(self, trace_id):
        """{name: (span, resource attributes)} once both spans are there."""
        def look():
            found = {span["name"]: (span, attributes(resource.get("resource", {})))
                     for resource in self.node.trace(trace_id)["trace"].get("resourceSpans", [])
                     for scope in resource["scopeSpans"] for span in scope["spans"]}
            return found if len(found) == 2 else None
        return wait_for(look, 10, "both spans")

    def check(self, kind, door, typed=True, site=True):
        trace_id = self.send(kind, door)
        for _ in ("head", "block"):
            spans = self.spans(trace_id)
            self.assertEqual({name.lower() for name in spans}, {"get /cart", "query"})
            (root, resource), (child, _) = (spans[name] for name in sorted(spans, key=str.lower))
            values = attributes(root)
            self.assertEqual(resource["service.name"], kind)
            self.assertEqual((kind_of(root), kind_of(child)), (2, 3))
            self.assertEqual(values["http.request.method"], "GET")
            if typed is not None:
                expected = {"ratio": 0.5, "ok": True, "n": -3} if typed else {"ratio": "0.5", "ok": "true", "n": "-3"}
                self.assertEqual({key: values[key] for key in expected}, expected)
            if site:
                self.assertEqual({**resource, **values}.get("site.id"), 7 if typed else "7")
            self.assertEqual(child["parentSpanId"], root["spanId"])
            self.assertTrue(status_of(child).startswith("ERROR"), child)
            self.assertEqual([event["name"] for event in child["events"]], ["cache.miss"])
            self.node.flush()

    def test_jaeger_client_udp(self):
        self.check("jaeger-udp", "jaeger_thrift_binary")

    def test_jaeger_client_udp_on_the_compact_port(self):
        self.check("jaeger-udp", "jaeger_thrift_compact")

    def test_jaeger_client_http(self):
        self.check("jaeger-http", "jaeger_thrift_http")

    def test_opentelemetry_jaeger_exporter(self):
        self.check("otel-jaeger", "jaeger_thrift_binary")

    def test_opentelemetry_zipkin_exporter(self):
        self.check("otel-zipkin", "zipkin", typed=False, site=False)

    def test_zipkin_client(self):
        self.check("zipkin", "zipkin", typed=None, site=False)


if __name__ == "__main__":
    unittest.main()
