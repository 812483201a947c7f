# SPDX-License-Identifier: Apache-2.0
"""The OpenTelemetry Collector's receiver as the upstream of exporters: everything arrives, over gRPC
and HTTP and with every compression, also when the Collector was away for a while."""
import json
import os
import pathlib
import subprocess

from harness import DaemonTest, free_port, request, span, wait_for

COLLECTOR = pathlib.Path(os.environ.get("INTEROP", "build/interop")) / "bin" / "collector"


class CollectorTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.child, self.ports = None, {"grpc": free_port(), "http": free_port()}
        self.addCleanup(self.stop_collector)

    def start_collector(self):
        self.lines = self.directory / "spans"
        with open(self.lines, "ab") as out, open(self.directory / "collector.log", "ab") as log:
            self.child = subprocess.Popen([str(COLLECTOR), *(f"127.0.0.1:{self.ports[name]}" for name in ("grpc", "http"))],
                                          stdout=out, stderr=log)

    def stop_collector(self):
        if self.child:
            self.child.terminate()
            self.child.wait(30)
            self.child = None

    def arrived(self):
        return [json.loads(line) for line in self.lines.read_text().splitlines() if line.startswith("{") and line.endswith("}")]

    def wait_spans(self, count):
        wait_for(lambda: len({row["span"] for row in self.arrived()}) >= count, 60,
                 f"{count} spans: {(self.directory / 'collector.log').read_text()[-2000:]}")

    def export(self, protocol, compression, batches=20):
        endpoint = f"127.0.0.1:{self.ports['grpc']}" if protocol == "grpc" else f"http://127.0.0.1:{self.ports['http']}"
        node = self.daemon({
            "exporter.otlp.up.endpoint": endpoint,
            "exporter.otlp.up.protocol": protocol,
            "exporter.otlp.up.compression": compression,
            "exporter.otlp.up.batch_timeout": "50ms",
            "exporter.otlp.up.retry_initial_interval": "100ms",
            "exporter.otlp.up.retry_max_interval": "500ms",
        }).start()
        for batch in range(batches):
            spans = [span(f"{batch + 1:032x}", f"{batch * 100 + i + 1:016x}", name=f"op-{i}") for i in range(50)]
            self.assertEqual(node.send(request(spans, "shop"))[0], 200)
        return node

    def check(self, protocol, compression):
        self.start_collector()
        node = self.export(protocol, compression)
        self.wait_spans(1000)
        rows = self.arrived()
        self.assertEqual(len(rows), 1000)
        self.assertEqual({row["service"] for row in rows}, {"shop"})
        self.assertEqual({row["span"] for row in rows}, {f"{b * 100 + i + 1:016x}" for b in range(20) for i in range(50)})
        self.assertEqual(node.metric("fermata_exporter_sent_spans_total"), 1000)
        node.stop()

    def test_grpc_zstd(self):
        self.check("grpc", "zstd")

    def test_grpc_none(self):
        self.check("grpc", "none")

    def test_http_gzip(self):
        self.check("http", "gzip")

    def test_http_zstd(self):
        self.check("http", "zstd")

    def test_a_collector_that_was_away(self):
        self.lines = self.directory / "spans"
        node = self.export("grpc", "gzip")
        wait_for(lambda: node.metric("fermata_exporter_failures_total") >= 2, 30, "failures")
        self.start_collector()
        self.wait_spans(1000)
        self.stop_collector()
        for batch in range(5):
            node.send(request([span(f"{900 + batch:032x}", f"{90000 + batch:016x}")], "shop"))
        self.start_collector()
        self.wait_spans(1005)
        node.stop()


if __name__ == "__main__":
    import unittest
    unittest.main()
