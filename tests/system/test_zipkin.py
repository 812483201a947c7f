# SPDX-License-Identifier: Apache-2.0
"""Zipkin's door on the live daemon: both versions, every encoding, gRPC.  zN in a name is the row of
the protocol checklist that it covers; the binary messages are public sample vectors."""
import gzip
import json
import unittest
import zlib

from harness import wait_for
from legacy import REFUSED, SPANS, LegacyTest

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"
V2 = [{"traceId": TRACE, "id": SPAN, "parentId": "eee19b7ec3c1b173", "kind": "SERVER", "name": "get /",
       "timestamp": 1_700_000_000_000_000, "duration": 1500,
       "localEndpoint": {"serviceName": "svc", "ipv4": "127.0.0.1", "port": 8080},
       "remoteEndpoint": {"serviceName": "cli", "ipv4": "10.0.0.2", "port": 51234},
       "annotations": [{"timestamp": 1_700_000_000_000_500, "value": "e1"}],
       "tags": {"http.method": "GET"}, "debug": True, "shared": True}]
V1 = [{"traceId": TRACE, "id": SPAN, "name": "get /", "timestamp": 1_700_000_000_000_000, "duration": 1500,
       "annotations": [
           {"timestamp": 1_700_000_000_000_000, "value": "sr", "endpoint": {"serviceName": "svc", "ipv4": "127.0.0.1"}},
           {"timestamp": 1_700_000_000_001_500, "value": "ss", "endpoint": {"serviceName": "svc", "ipv4": "127.0.0.1"}}],
       "binaryAnnotations": [{"key": "http.method", "value": "GET"}]}]
LIST = bytes.fromhex(  # zipkin.proto3.ListOfSpans
    "0a6d0a105b8efff798038103d269b633813fc60c1a08eee19b7ec3c1b17420022a05676574202f3100401e18240a0600"
    "38dc0b420e0a0373766312047f00000120903f4a050a03636c69520d09f4411e18240a0600120265315a120a0b687474"
    "702e6d6574686f6412034745546801")
THRIFT = bytes.fromhex(  # version 1: a bare list
    "0c000000010a000100000000000000010b0003000000036765740a000400000000000000020a00050000000000000001"
    "0f00060c000000020a000100060a24181e40000b00020000000273720c00030800017f0000010600021f900b00030000"
    "000377656200000a000100060a24181e43e80b00020000000273730c00030800017f0000010600021f900b0003000000"
    "0377656200000f00080c000000010b000100000009687474702e706174680b0002000000022f61080003000000060c00"
    "040800017f0000010600021f900b0003000000037765620000020009000a000a00060a24181e40000a000b0000000000"
    "0003e800")
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
START = 1_700_000_000_000_000_000


class ZipkinTest(LegacyTest):
    settings = {"receiver.zipkin.cors_allowed_origins": "https://app.example", "limits.max_body_bytes": "1MiB",
                "limits.max_decompressed_bytes": "2MiB"}

    def send(self, body, headers=JSON, path="/api/v2/spans", method="POST"):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, _, answer = self.post("zipkin", path, body, headers, method)
        return status, answer

    def assert_sample(self, parent="", attributes=()):
        span = self.span(TRACE)
        self.assertEqual((span["id"], span["parent"], span["name"], span["kind"], span["start"], span["end"]),
                         (SPAN, parent, "get /", "SPAN_KIND_SERVER", START, START + 1_500_000))
        self.assertEqual(span["resource"]["service.name"], "svc")
        wanted = {"http.method": "GET", **dict(attributes)}
        self.assertEqual({key: span["attributes"].get(key) for key in wanted}, wanted)
        return span

    def test_z1_json(self):
        self.assertEqual(self.send(V2), (202, b""))
        span = self.assert_sample("eee19b7ec3c1b173", {"net.host.ip": "127.0.0.1", "net.host.port": 8080,
                                                       "net.peer.ip": "10.0.0.2", "peer.service": "cli"})
        self.assertEqual(span["events"], [(START + 500_000, "e1", {})])
        self.assertEqual(self.count(SPANS, "zipkin"), 1)

    def test_z2_nothing(self):
        for body in (b"[]", b"", b" [ ] "):
            self.assertEqual(self.send(body), (202, b""), body)
        self.assertEqual(self.send(b"", PROTOBUF), (202, b""))
        self.assertEqual(self.count(SPANS, "zipkin"), 0)

    def test_z3_z6_protobuf(self):
        self.assertEqual(self.send(LIST, {"Content-Type": "application/x-protobuf; foo=bar"}), (202, b""))
        span = self.assert_sample("", {"net.host.ip": "127.0.0.1", "net.host.port": 8080, "peer.service": "cli"})
        self.assertEqual(span["events"], [(START + 500_000, "e1", {})])

    def test_z4_encodings(self):
        plain = json.dumps(V2).encode()
        for name, body in (("gzip", gzip.compress(plain)), ("x-gzip", gzip.compress(plain)),
                           ("deflate", zlib.compress(plain)), ("zlib", zlib.compress(plain)), ("identity", plain)):
            self.assertEqual(self.send(body, {**JSON, "Content-Encoding": name}), (202, b""), name)
        for name, body in (("gzip", gzip.compress(plain)[:-9]), ("gzip", b"\x1f\x8bjunk"), ("br", plain)):
            self.assertEqual(self.send(body, {**JSON, "Content-Encoding": name})[0], 400, name)
        self.assert_sample("eee19b7ec3c1b173")

    def test_z5_media_types(self):
        body = json.dumps(V2).encode()
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-8"}):
            self.assertEqual(self.send(body, headers), (202, b""))
        self.assert_sample("eee19b7ec3c1b173")

    def test_z7_version_1_on_either_path(self):
        for path in ("/api/v1/spans", "/api/v2/spans", "/api/v2/spans/"):
            self.assertEqual(self.send(V1, path=path), (202, b""), path)
        self.assertEqual(self.send(V2, path="/api/v1/spans"), (202, b""))
        self.assertEqual(self.count(SPANS, "zipkin"), 4)

    def test_version_1_json(self):
        self.assertEqual(self.send(V1, path="/api/v1/spans"), (202, b""))
        self.assert_sample()

    def test_z8_z34_garbage(self):
        for body in (b"{}", b"[1]", b"[", b"null", b"[{}],", b'[{"traceId":NaN}]'):
            status, answer = self.send(body)
            self.assertEqual((status, answer[-1:]), (400, b"\n"), body)
        self.assertEqual(self.send(b"\x0a\x02\x0a\x01" + b"\xff", PROTOBUF)[0], 400)
        self.assertEqual(self.send(THRIFT[:-1], {"Content-Type": "application/x-thrift"}, "/api/v1/spans")[0], 400)
        self.assertEqual(self.send(b"\xef\xbb\xbf" + json.dumps(V2).encode()), (202, b""))
        self.assert_sample("eee19b7ec3c1b173")

    def test_z10_a_bad_id_costs_its_span_only(self):
        bad = {**V2[0], "id": "0000000000000000"}
        self.assertEqual(self.send([bad, V2[0], {**V2[0], "traceId": "0" * 32}]), (202, b""))
        self.assertEqual(self.count(SPANS, "zipkin"), 1)
        self.assertEqual(self.count(REFUSED, "zipkin"), 2)
        self.assertEqual(self.count("fermata_receiver_requests_total", "zipkin", 'outcome="partial"'), 1)

    def test_z27_version_1_thrift(self):
        self.assertEqual(self.send(THRIFT, {"Content-Type": "application/x-thrift"}, "/api/v1/spans"), (202, b""))
        span = self.span("00000000000000000000000000000001")
        self.assertEqual((span["id"], span["parent"], span["name"], span["kind"], span["end"] - span["start"]),
                         ("0000000000000002", "0000000000000001", "get", "SPAN_KIND_SERVER", 1_000_000))
        self.assertEqual(span["attributes"]["http.path"], "/a")
        self.assertEqual(span["resource"]["service.name"], "web")

    def test_z32_routes(self):
        status, headers, _ = self.post("zipkin", "/api/v1/spans", b"", method="GET")
        self.assertEqual((status, headers["allow"]), (405, "POST"))
        status, headers, body = self.post("zipkin", "/health", b"", method="GET")
        self.assertEqual((status, headers["content-type"], json.loads(body)), (200, "application/json", {"status": "UP"}))
        self.assertEqual(self.send(V2, path="/api/v3/spans")[0], 404)
        self.assertEqual(self.post("zipkin", "/", b"", method="GET")[0], 200)

    def test_browsers(self):
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "content-type"}
        status, headers, _ = self.post("zipkin", "/api/v2/spans", b"", asked, "OPTIONS")
        self.assertEqual((status, headers["access-control-allow-origin"], headers["access-control-allow-methods"]),
                         (204, "https://app.example", "POST"))
        status, headers, _ = self.post("zipkin", "/api/v2/spans", json.dumps(V2).encode(),
                                       {**JSON, "Origin": "https://app.example"})
        self.assertEqual((status, headers["access-control-allow-origin"]), (202, "https://app.example"))
        foreign = {**asked, "Origin": "https://evil.example"}
        self.assertEqual(self.post("zipkin", "/api/v2/spans", b"", foreign, "OPTIONS")[0], 405)
        self.assertEqual(self.send(V2, {**JSON, "Origin": "https://evil.example"})[0], 403)

    def test_z33_report(self):
        self.assertEqual(self.call("zipkin", "/zipkin.proto3.SpanService/Report", LIST), ("0", b"\0\0\0\0\0"))
        self.assert_sample()
        self.assertEqual(self.call("zipkin", "/zipkin.proto3.SpanService/Report", LIST[:-1])[0], "3")

    def test_z35_sizes(self):
        spans = [{**V2[0], "id": f"{i + 1:016x}"} for i in range(1400)]
        body = json.dumps(spans).encode()
        self.assertGreater(len(body), 500_000)
        self.assertLess(len(body), 1 << 20)
        self.assertEqual(self.send(body), (202, b""))
        self.assertEqual(self.count(SPANS, "zipkin"), len(spans))
        self.assertEqual(self.send(json.dumps(spans * 2).encode())[0], 413)
        self.assertEqual(self.send(gzip.compress(json.dumps(spans * 4).encode()),
                                   {**JSON, "Content-Encoding": "gzip"})[0], 413)

    def test_z36_propagation_headers_are_ignored(self):
        self.assertEqual(self.send(V2, {**JSON, "X-B3-Flags": "1", "b3": "0"}), (202, b""))
        wait_for(lambda: self.count(SPANS, "zipkin") == 1, 5, "the span")


if __name__ == "__main__":
    unittest.main()
