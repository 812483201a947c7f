# SPDX-License-Identifier: Apache-2.0
"""Spans made by real OpenTelemetry SDKs are found by trace id with what was set on them."""
import json
import os
import pathlib
import subprocess
import unittest

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from harness import DaemonTest

HERE = pathlib.Path(__file__).resolve().parent


def flatten(answer):
    """{span name: (span, resource attributes)}"""
    found = {}
    for resource in answer["trace"].get("resourceSpans", []):
        attributes = {a["key"]: a["value"] for a in resource["resource"].get("attributes", [])}
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                found[span["name"]] = (span, attributes)
    return found


class SdkTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.node = self.daemon().start()

    def tearDown(self):
        self.node.stop()

    def check(self, trace_id, service):
        for when in ("head", "block"):
            spans = flatten(self.node.trace(trace_id))
            self.assertEqual(set(spans), {"GET /cart", "query"}, when)
            root, resource = spans["GET /cart"]
            child, _ = spans["query"]
            values = {a["key"]: a["value"] for a in root["attributes"]}
            self.assertEqual(resource["service.name"], {"stringValue": service})
            self.assertEqual(resource["site.id"], {"intValue": "7"})
            self.assertEqual(root["kind"], "SPAN_KIND_SERVER")
            self.assertEqual(values["http.request.method"], {"stringValue": "GET"})
            self.assertEqual(values["ratio"], {"doubleValue": 0.5})
            self.assertEqual(values["ok"], {"boolValue": True})
            self.assertEqual(values["n"], {"intValue": "-3"})
            self.assertEqual(values["list"]["arrayValue"]["values"],
                             [{"stringValue": "a"}, {"stringValue": "b"}])
            self.assertEqual(child["parentSpanId"], root["spanId"])
            self.assertEqual(child["status"], {"message": "boom", "code": "STATUS_CODE_ERROR"})
            self.assertEqual([e["name"] for e in child["events"]], ["cache.miss", "exception"])
            self.node.flush()

    def js(self, kind, url, compression="none"):
        done = subprocess.run(["node", str(HERE / "otel_js.js"), kind, url], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "COMPRESSION": compression})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["traceId"]

    def test_js_grpc(self):
        for compression in ("none", "gzip"):
            self.check(self.js("grpc", f"http://127.0.0.1:{self.node.ports['grpc']}", compression), "js-grpc")

    def test_js_http_protobuf(self):
        for compression in ("none", "gzip"):
            url = f"http://127.0.0.1:{self.node.ports['http']}/v1/traces"
            self.check(self.js("proto", url, compression), "js-proto")

    def test_js_http_json(self):
        url = f"http://127.0.0.1:{self.node.ports['http']}/v1/traces"
        self.check(self.js("json", url), "js-json")

    def go(self, *arguments):
        program = pathlib.Path(os.environ["INTEROP"]) / "bin" / "otel_go"
        done = subprocess.run([str(program), *arguments], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["traceId"]

    def test_go_grpc(self):
        for compression in ((), ("gzip",)):
            self.check(self.go("grpc", f"127.0.0.1:{self.node.ports['grpc']}", *compression), "go-grpc")

    def test_go_http(self):
        for compression in ((), ("gzip",)):
            self.check(self.go("http", f"127.0.0.1:{self.node.ports['http']}", *compression), "go-http")

    def python(self, exporter, service):
        provider = TracerProvider(resource=Resource({"service.name": service, "site.id": 7}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("interop", "1.2.3")
        with tracer.start_as_current_span("GET /cart", kind=trace.SpanKind.SERVER, attributes={
                "http.request.method": "GET", "ratio": 0.5, "ok": True, "n": -3, "list": ["a", "b"]}) as root:
            trace_id = f"{root.get_span_context().trace_id:032x}"
            with tracer.start_as_current_span("query", kind=trace.SpanKind.CLIENT) as child:
                child.add_event("cache.miss", {"key": "cart:42"})
                child.record_exception(RuntimeError("boom"))
                child.set_status(trace.StatusCode.ERROR, "boom")
        provider.shutdown()
        return trace_id

    def test_python_grpc(self):
        endpoint = f"127.0.0.1:{self.node.ports['grpc']}"
        self.check(self.python(GrpcExporter(endpoint=endpoint, insecure=True), "py-grpc"), "py-grpc")

    def test_python_http(self):
        url = f"http://127.0.0.1:{self.node.ports['http']}/v1/traces"
        for compression in (Compression.NoCompression, Compression.Gzip, Compression.Deflate):
            self.check(self.python(HttpExporter(endpoint=url, compression=compression), "py-http"), "py-http")


if __name__ == "__main__":
    unittest.main()
